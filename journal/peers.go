package journal

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

// HolderInfo is a journal that home has offered intents to.
type HolderInfo struct {
	ID        ID
	Epoch     uint64
	Address   string
	Seen      time.Time
	Ephemeral bool
	Agents    []string // some that whoever answered for it was proven to speak for
}

// HomeInfo is a home we hold, or have held, intents of.
type HomeInfo struct {
	ID      ID
	Epoch   uint64
	Address string
	Seen    time.Time
	Unacked bool // reports wait for it
}

// Applied returns the number of the holder's last report applied, counted for
// the present pair of identities.
func (j *Journal) Applied(holder Identity) uint64 {
	var n uint64
	_ = j.view(func(txn *page) error {
		var rec wire.Holder
		found, err := readMessage(txn, idKey(classHolder, holder.Journal), &rec)
		if err == nil && found && rec.Epoch == holder.Epoch && rec.OwnEpoch == j.self.Epoch {
			n = rec.Applied
		}
		return err
	}) // unreadable: the holder repeats its reports, which the committer refuses with the error
	return n
}

// SawHolder puts a holder on record. Without agents those on record stay.
func (j *Journal) SawHolder(ctx context.Context, holder Identity, address string, ephemeral bool, agents []string) error {
	return j.do(ctx, first, &op{run: func(t *tx) error {
		rec, err := t.pair(holder)
		if err != nil {
			return err
		}
		rec.Address, rec.Ephemeral, rec.SeenMs = address, ephemeral, ms(t.now)
		if len(agents) > 0 {
			rec.Agents = agents
		}
		return t.put(idKey(classHolder, holder.Journal), rec)
	}})
}

// ProvenBy returns agents that the peer of a holder was proven to speak for, and
// when it was; none where nobody has asked, or an operator has given it up.
func (j *Journal) ProvenBy(holder ID) (agents []string, seen time.Time, err error) {
	err = j.view(func(txn *page) error {
		var rec wire.Holder
		_, err := readMessage(txn, idKey(classHolder, holder), &rec)
		agents, seen = rec.Agents, at(rec.SeenMs)
		return err
	})
	return agents, seen, err
}

// Disown forgets whose a holder was; known says that it was anybody's.
func (j *Journal) Disown(ctx context.Context, holder ID) (known bool, err error) {
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		var rec wire.Holder
		if _, err := t.get(idKey(classHolder, holder), &rec); err != nil {
			return err
		}
		if known = len(rec.Agents) > 0; !known {
			return nil
		}
		rec.Agents = nil
		return t.put(idKey(classHolder, holder), &rec)
	}})
	return known, err
}

// Holders lists the holders on record.
func (j *Journal) Holders() (out []HolderInfo, err error) {
	err = eachOf(j, []byte{classHolder}, func() *wire.Holder { return &wire.Holder{} }, func(_ *page, key []byte, rec *wire.Holder, bad error) error {
		out = append(out, HolderInfo{ID: ID(key[1:17]), Epoch: rec.Epoch, Address: rec.Address, Seen: at(rec.SeenMs), Ephemeral: rec.Ephemeral, Agents: rec.Agents})
		return bad
	})
	return out, err
}

// SawHome puts a home on record. applied is the last of our reports that home
// says it has applied, nil where it does not know us. Behind what it has acked
// before, or ahead of what we have ever sent, it proves that home's journal or
// ours was put back to an older copy without a new epoch: ErrOldCopy, and
// nothing is exchanged, for new reports would be taken for repeats and dropped.
// When either side's epoch has grown, what is
// unacked is numbered anew from 1: home cannot know how far it had come.
func (j *Journal) SawHome(ctx context.Context, home Identity, address string, applied *uint64) (renumbered bool, err error) {
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		key := idKey(classHome, home.Journal)
		var rec wire.HomePeer
		known, err := t.get(key, &rec)
		if err != nil {
			return err
		}
		samePair := known && rec.Epoch == home.Epoch && rec.OwnEpoch == j.self.Epoch
		if samePair && applied != nil {
			if err := t.compareCopies(home.Journal, j.self.Journal, *applied, &rec); err != nil {
				return err
			}
		}
		if known && !samePair {
			renumbered, rec.Base = true, rec.Acked
		}
		if rec.Base > 0 {
			if err := t.needs(schemaBased); err != nil { // others would count from nothing
				return err
			}
		}
		rec.Epoch, rec.OwnEpoch, rec.Address, rec.SeenMs = home.Epoch, j.self.Epoch, address, ms(t.now)
		return t.put(key, &rec)
	}})
	return renumbered, err
}

// Told returns the numbers of the last report for a home and of the last that it has acked,
// in the present pair of epochs: call it after SawHome.
func (j *Journal) Told(ctx context.Context, home ID) (last, acked uint64, err error) {
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		var rec wire.HomePeer
		_, err := t.get(idKey(classHome, home), &rec)
		last, acked = t.lastReport(home)-rec.Base, rec.Acked-rec.Base
		return err
	}})
	return last, acked, err
}

// CheckHolder compares what a holder has told with what of it was applied here: the same as
// SawHome does at the other end, where that knows. It may not, where it answers at another
// address, or was away with nothing of ours.
func (j *Journal) CheckHolder(holder Identity, last, acked uint64) error {
	var rec wire.Holder
	err := j.view(func(txn *page) error {
		found, err := readMessage(txn, idKey(classHolder, holder.Journal), &rec)
		if !found || rec.Epoch != holder.Epoch || rec.OwnEpoch != j.self.Epoch {
			rec.Applied = acked // nothing to compare
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case rec.Applied > last:
		return &OldCopy{holder.Journal, fmt.Sprintf("report %d of holder %s was applied, and its journal ends at %d", rec.Applied, holder.Journal, last)}
	case rec.Applied < acked:
		return &OldCopy{j.self.Journal, fmt.Sprintf("home %s acked report %d of holder %s, and has now applied %d", j.self.Journal, acked, holder.Journal, rec.Applied)}
	}
	return nil
}

const (
	// strangersMost is how many homes stay on record that we have never told anything:
	// a peer can have as many journals as it likes.
	strangersMost = 10_000
	// strangersKept of them are left when there are more, so that it is not done for
	// each one that comes.
	strangersKept = 9_000
)

// ForgetStrangers takes homes off the record that have not been here for longest, of
// which nothing is held and that never were told anything, when there are too many of
// these. Nothing is lost with them: the numbers of their reports begin at 1 as they
// do for a home that was never seen. A home that has been told something stays, since
// it would take reports that begin at 1 again for repeats. live homes stay; it is
// asked on the committer. How many are forgotten is returned.
//
// Before its commit nothing is forgotten. After it such a home is put on record again
// by its next hello.
func (j *Journal) ForgetStrangers(ctx context.Context, live func(ID) bool) (forgotten int, err error) {
	return j.forgetStrangers(ctx, live, strangersMost, strangersKept)
}

func (j *Journal) forgetStrangers(ctx context.Context, live func(ID) bool, most, keep int) (forgotten int, err error) {
	type stranger struct {
		id   ID
		seen int64
	}
	var all []stranger
	homes := 0
	err = j.eachKey([]byte{classHome}, func(*page, []byte) (more bool, err error) { homes++; return homes <= most, nil })
	if err != nil || homes <= most {
		return 0, err
	}
	err = eachOf(j, []byte{classHome}, emptyHome, func(txn *page, key []byte, rec *wire.HomePeer, bad error) error {
		if id := ID(key[1:17]); bad == nil && rec.Acked == 0 && !live(id) && !hasPrefix(txn, idKey(classReport, id)) {
			all = append(all, stranger{id, rec.SeenMs})
		}
		return bad
	})
	if err != nil || len(all) <= most {
		return 0, err
	}
	holding := map[ID]bool{}
	err = j.eachMail([]byte{classMail}, func(m Mail, _ *wire.Handover) bool { holding[m.Home] = true; return true })
	all = slices.DeleteFunc(all, func(s stranger) bool { return holding[s.id] })
	if err != nil || len(all) <= keep {
		return 0, err
	}
	slices.SortFunc(all, func(a, b stranger) int { return cmp.Compare(a.seen, b.seen) })
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		forgotten = 0
		for _, s := range all[:len(all)-keep] {
			key := idKey(classHome, s.id)
			var rec wire.HomePeer
			known, err := t.get(key, &rec)
			if err != nil {
				return err
			}
			if known && rec.SeenMs == s.seen && rec.Acked == 0 && t.lastReport(s.id) == 0 && !live(s.id) {
				t.del(key)
				forgotten++
			}
		}
		return nil
	}})
	return forgotten, err
}

func (t *tx) compareCopies(home, self ID, applied uint64, rec *wire.HomePeer) error {
	switch last, acked := t.lastReport(home)-rec.Base, rec.Acked-rec.Base; {
	case applied > last:
		return &OldCopy{self, fmt.Sprintf("home %s has applied report %d of holder %s, whose journal ends at %d", home, applied, self, last)}
	case applied < acked:
		return &OldCopy{home, fmt.Sprintf("home %s acked report %d of holder %s, and has now applied %d", home, acked, self, applied)}
	}
	return nil
}

// Homes lists the homes on record.
func (j *Journal) Homes() (out []HomeInfo, err error) {
	err = eachOf(j, []byte{classHome}, emptyHome, func(txn *page, key []byte, rec *wire.HomePeer, bad error) error {
		id := ID(key[1:17])
		out = append(out, HomeInfo{ID: id, Epoch: rec.Epoch, Address: rec.Address, Seen: at(rec.SeenMs), Unacked: hasPrefix(txn, idKey(classReport, id))})
		return bad
	})
	return out, err
}

func emptyHome() *wire.HomePeer { return &wire.HomePeer{} }

func hasPrefix(txn *page, prefix []byte) bool {
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false
	opts.Prefix = prefix
	it := txn.NewIterator(opts)
	defer it.Close()
	it.Seek(prefix)
	return it.Valid()
}

// eachRecord decodes every record below prefix, in one snapshot.
func eachRecord[M proto.Message](txn *page, prefix []byte, empty func() M, visit func(key []byte, m M)) error {
	opts := badger.DefaultIteratorOptions
	opts.Prefix = prefix
	it := txn.NewIterator(opts)
	defer it.Close()
	for it.Seek(prefix); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		rec, err := it.Item().ValueCopy(nil)
		if err != nil {
			return err
		}
		m := empty()
		if err := unsealMessage(key, rec, m); err != nil {
			return err
		}
		visit(key, m)
	}
	return nil
}
