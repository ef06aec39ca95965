package journal

import (
	"context"
	"fmt"
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
	_ = j.view(func(txn *badger.Txn) error {
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
	err = j.view(func(txn *badger.Txn) error {
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
	err = j.view(func(txn *badger.Txn) error {
		return eachRecord(txn, []byte{classHolder}, func() *wire.Holder { return &wire.Holder{} }, func(key []byte, rec *wire.Holder) {
			out = append(out, HolderInfo{ID: ID(key[1:17]), Epoch: rec.Epoch, Address: rec.Address, Seen: at(rec.SeenMs), Ephemeral: rec.Ephemeral, Agents: rec.Agents})
		})
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
			if err := t.compareCopies(home.Journal, *applied, rec.Acked); err != nil {
				return err
			}
		}
		if known && !samePair {
			renumbered = true
			if err := t.renumber(home.Journal, rec.Acked); err != nil {
				return err
			}
			rec.Acked = 0
		}
		rec.Epoch, rec.OwnEpoch, rec.Address, rec.SeenMs = home.Epoch, j.self.Epoch, address, ms(t.now)
		return t.put(key, &rec)
	}})
	return renumbered, err
}

func (t *tx) compareCopies(home ID, applied, acked uint64) error {
	const hint = "stop that sidecar and start it once with --accept-loss, which gives its journal a new epoch"
	switch last := t.lastReport(home); {
	case applied > last:
		return fmt.Errorf("%w: home %s has applied report %d, and our journal ends at %d: ours was put back; %s", ErrOldCopy, home, applied, last, hint)
	case applied < acked:
		return fmt.Errorf("%w: home %s acked report %d, and has now applied %d: its journal was put back; %s", ErrOldCopy, home, acked, applied, hint)
	}
	return nil
}

// renumber gives the reports numbered above acked new numbers from 1.
func (t *tx) renumber(home ID, acked uint64) error {
	var reports []*wire.Report
	for no := acked + 1; no <= t.lastReport(home); no++ {
		r := &wire.Report{}
		key := reportKey(home, no)
		if _, err := t.get(key, r); err != nil {
			return err
		}
		t.delIndex(key)
		reports = append(reports, r)
	}
	t.op.reportNo[home] = 0
	for _, r := range reports {
		if err := t.putReport(home, r); err != nil {
			return err
		}
	}
	return nil
}

// Homes lists the homes on record.
func (j *Journal) Homes() (out []HomeInfo, err error) {
	err = j.view(func(txn *badger.Txn) error {
		return eachRecord(txn, []byte{classHome}, func() *wire.HomePeer { return &wire.HomePeer{} }, func(key []byte, rec *wire.HomePeer) {
			id := ID(key[1:17])
			out = append(out, HomeInfo{ID: id, Epoch: rec.Epoch, Address: rec.Address, Seen: at(rec.SeenMs), Unacked: hasPrefix(txn, idKey(classReport, id))})
		})
	})
	return out, err
}

func hasPrefix(txn *badger.Txn, prefix []byte) bool {
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false
	opts.Prefix = prefix
	it := txn.NewIterator(opts)
	defer it.Close()
	it.Seek(prefix)
	return it.Valid()
}

// eachRecord decodes every record below prefix.
func eachRecord[M proto.Message](txn *badger.Txn, prefix []byte, empty func() M, visit func(key []byte, m M)) error {
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
