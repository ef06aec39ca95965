package journal_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// edit changes the record of an intent.
func edit[T any, M interface {
	*T
	proto.Message
}](class byte, id journal.ID, change func(M)) func(*badger.Txn) error {
	return editAt(append([]byte{class}, id[:]...), change)
}

func editAt[T any, M interface {
	*T
	proto.Message
}](key []byte, change func(M)) func(*badger.Txn) error {
	return func(txn *badger.Txn) error {
		if len(key) == 1 {
			key = firstKey(txn, key[0])
		}
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		rec, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		_, body, err := journal.Unseal(key, rec)
		if err != nil {
			return err
		}
		m := M(new(T))
		if err := proto.Unmarshal(body, m); err != nil {
			return err
		}
		change(m)
		if body, err = proto.Marshal(m); err != nil {
			return err
		}
		return txn.Set(key, journal.Seal(key, 1, body))
	}
}

// without takes away the records of an intent of some classes.
func without(id journal.ID, classes string) func(*badger.Txn) error {
	return func(txn *badger.Txn) (err error) {
		for _, class := range []byte(classes) {
			key := append([]byte{class}, id[:]...)
			if class == 'v' || class == 'a' {
				key = append(key, 0, 0)
			}
			_, there := txn.Get(key)
			err = errors.Join(err, there, txn.Delete(key))
		}
		return err
	}
}

// tied is two stopped journals with what records say of each other: home's, and what another
// holds.
type tied struct {
	*pair
	open, inHand, done, dead, next, gated, approval, flow, step, task journal.ID // at home
	held, rejected, settled                                           journal.ID // at the holder
}

func setupTied(t *testing.T) *tied {
	t.Helper()
	w := &tied{pair: setupPair(t)}
	w.held, w.rejected, w.settled = w.home.accept(), w.home.accept(), w.home.accept()
	handed := map[journal.ID]*journal.Handed{}
	for _, r := range w.pair.held(time.Minute) {
		handed[r.ID] = r.Handed
	}
	w.holder.settle(journal.Settle{ID: w.rejected, Lease: handed[w.rejected].Lease, Action: journal.Nack, Reject: true})
	if err := w.report(); err != nil {
		t.Fatal(err)
	}
	w.holder.settle(journal.Settle{ID: w.settled, Lease: handed[w.settled].Lease, Action: journal.Ack}) // and home is not told
	local := func() journal.Handed { w.home.accept(); return w.home.local(time.Minute) }
	h := local()
	w.dead = h.ID
	w.home.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Nack, Reject: true})
	h = local()
	w.done = h.ID
	w.home.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
	w.inHand = local().ID
	got, err := w.home.j.Redrive(t.Context(), journal.Redrive{ID: w.dead})
	if err != nil {
		t.Fatal(err)
	}
	w.next = got.ID
	w.open = w.home.accept()
	w.gated = w.home.gated(journal.Accept{}, part(0, false, "a"), part(1, false, "b"))
	w.approval = w.home.awaited(w.gated)
	w.flow = w.home.workflow(journal.Accept{}, step(agent, "a", 2, 0), step(agent, "b", 0, 0))
	w.step = w.home.awaited(w.flow)
	w.task = w.home.ask(nil)
	key := &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{2}}
	if keyed, err := w.home.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope(), Key: key}}); err != nil || keyed[0].Err != nil {
		t.Fatal(err, keyed)
	}
	w.home.schedule(&wire.Schedule{})
	for _, side := range []*world{w.home, w.holder} {
		side.whole()
	}
	return w
}

// Whatever two records say of each other and does not agree, or is missing, is named for the
// intent it is about, and hides nothing.
func TestVerifyNamesWhatDoesNotAgree(t *testing.T) {
	t.Parallel()
	w := setupTied(t)
	asks := &world{T: t, dir: t.TempDir()} // people elsewhere
	asks.open(journal.Options{Elsewhere: func(string) bool { return true }})
	asked := asks.ask(nil)
	asks.whole()
	head := func(id journal.ID, change func(*wire.Head)) func(*badger.Txn) error { return edit('i', id, change) }
	plan := func(id journal.ID, change func(*wire.Plan)) func(*badger.Txn) error { return edit('j', id, change) }
	hand := func(id journal.ID, change func(*wire.Handover)) func(*badger.Txn) error { return edit('h', id, change) }
	for _, c := range []struct {
		damage string
		at     *world
		plant  func(*badger.Txn) error
		of     journal.ID
		kind   journal.DamageKind
		words  string
	}{
		{"a policy that is not there", w.home, head(w.open, func(h *wire.Head) { h.PolicyGeneration = 1 }), w.open, journal.MissingRecord, "has no policy"},
		{"an end that is placed", w.home, head(w.done, func(h *wire.Head) { h.Place = uint32(journal.PlaceDue) }), w.done, journal.Contradictions, "has ended but is still placed"},
		{"a dead letter that is none", w.home, head(w.dead, func(h *wire.Head) { h.DeadMs = 0 }), w.dead, journal.Contradictions, "its head says false"},
		{"a completed dead letter", w.home, head(w.done, func(h *wire.Head) { h.DeadMs = 1 }), w.done, journal.Contradictions, "its head says true"},
		{"a dead letter without what was sent", w.home, without(w.dead, "v"), w.dead, journal.MissingRecord, "has no envelope"},
		{"a successor that is not there", w.home, head(w.dead, func(h *wire.Head) { h.RedrivenAs[15] ^= 1 }), w.dead, journal.Contradictions, "was redriven as"},
		{"a successor of nothing", w.home, head(w.dead, func(h *wire.Head) { h.RedrivenAs = w.open[:] }), w.dead, journal.Contradictions, "was redriven as"},
		{"a successor of another", w.home, head(w.dead, func(h *wire.Head) { h.RedrivenAs = w.open[:] }), w.next, journal.Contradictions, "is a redrive of"},
		{"an end that history does not know", w.home, remove('r'), w.done, journal.MissingEntry, "the history does not know"},
		{"a status that its log has not", w.home, head(w.open, func(h *wire.Head) { h.Status = uint32(state.InProgress) }), w.open, journal.BrokenLog, "its last event says"},
		{"a log that is gone", w.home, without(w.open, "t"), w.open, journal.BrokenLog, "has 0 events"},
		{"one in hand without its hand-over", w.home, without(w.inHand, "h"), w.inHand, journal.MissingRecord, "has no hand-over"},
		{"one that is nowhere", w.home, head(w.open, func(h *wire.Head) { h.Place = 99 }), w.open, journal.Contradictions, "is open and nowhere"},
		{"one that waits for no approval", w.home, plan(w.gated, func(p *wire.Plan) { p.Parts[0].Status = uint32(state.Completed) }), w.gated, journal.Contradictions, "nobody is asked for"},
		{"one that waits for no step", w.home, plan(w.flow, func(p *wire.Plan) { p.Parts[0].Status = uint32(state.Completed) }), w.flow, journal.Contradictions, "a step that is not open"},
		{"an approval that has ended", w.home, head(w.approval, func(h *wire.Head) { h.Status = uint32(state.Completed) }), w.gated, journal.Contradictions, "waits for its part"},
		{"approvals that have all ended", w.home, head(w.approval, func(h *wire.Head) { h.Status = uint32(state.Completed) }), w.gated, journal.Contradictions, "nobody is asked for"},
		{"a step that is gone", w.home, without(w.step, "i"), w.flow, journal.MissingRecord, "waits for its part"},
		{"a step of another", w.home, head(w.step, func(h *wire.Head) { h.Parent = w.gated[:] }), w.flow, journal.Contradictions, "has the part"},
		{"another step", w.home, head(w.step, func(h *wire.Head) { h.Part = 1 }), w.flow, journal.Contradictions, "has the part"},
		{"a step of nothing", w.home, without(w.flow, "i"), w.step, journal.MissingRecord, "what it is a part of"},
		{"a step of what has ended", w.home, head(w.flow, func(h *wire.Head) { h.Status = uint32(state.Completed) }), w.step, journal.Contradictions, "what it is a part of"},
		{"an address that is not there", w.home, head(w.open, func(h *wire.Head) { h.Dest = 99 }), w.open, journal.MissingRecord, "address number 99"},
		{"a number given twice", w.home, editAt([]byte("u"), func(n *wire.Name) { n.No ^= 1 }), journal.ID{}, journal.Contradictions, ""},
		{"a thread of an address that is not there", w.home, edit('T', w.task, func(th *wire.Thread) { th.Views[0].Owner = 99 }), w.task, journal.MissingRecord, "address number 99"},
		{"a thread without an entry", w.home, edit('T', w.task, func(th *wire.Thread) { th.Entries = nil }), w.task, journal.Contradictions, "it has no entry"},
		{"a thread of nothing", w.home, without(w.task, "ivt"), w.task, journal.StrayRecord, "there is no such intent"},
		{"an end of nothing", w.home, func(txn *badger.Txn) error {
			return txn.Set(append(append([]byte{'r'}, make([]byte, 8)...), w.held[:15]...), nil)
		}, journal.ID{}, journal.StrayEntry, "there is no such intent"},
		{"a task that is offered, and in no index", asks, remove('J'), asked, journal.MissingEntry, "index of tasks"},
		{"a completed dead letter of an earlier program", w.home, both(earlier, head(w.done, func(h *wire.Head) { h.DeadMs = 1 })), w.done, journal.Contradictions, "its head says true"},
		{"a successor of nothing that is here", w.home, both(letGo, head(w.dead, func(h *wire.Head) { h.RedrivenAs = w.open[:] })), w.dead, journal.Contradictions, "was redriven as"},
		{"a successor that is later than what was let go", w.home, both(editAt([]byte("mm"), func(m *wire.Meta) { m.LetGoMs = 1 }), head(w.dead, func(h *wire.Head) { h.RedrivenAs[15] ^= 1 })), w.dead, journal.Contradictions, "was redriven as"},
		{"a successor that was never made", w.home, head(w.dead, func(h *wire.Head) { h.RedrivenAs[0] = 0x7f }), w.dead, journal.Contradictions, "was redriven as"},
		{"what was sent does not decode", w.home, put(append([]byte{'v'}, append(w.open[:], 0, 0)...), []byte{0xff}), w.open, journal.DamagedRecord, "does not decode"},
		{"an idempotency key of no intent", w.home, editAt([]byte("d"), func(d *wire.Dedupe) { d.Id = d.Id[:3] }), journal.ID{}, journal.DamagedRecord, ""},
		{"a schedule of no time", w.home, editAt([]byte("S"), func(s *wire.Schedule) { s.Cron = "never" }), journal.ID{}, journal.DamagedRecord, "when it is due cannot be read"},
		{"a schedule of nothing", w.home, editAt([]byte("S"), func(s *wire.Schedule) { s.Template = nil }), journal.ID{}, journal.DamagedRecord, "what to make"},
		{"a webhook that says it is another", w.home, putOther('b', &wire.Subscription{Id: w.open[:]}), journal.ID{}, journal.Contradictions, "it says that it is"},
		{"an account that says it is another", w.home, putOther('f', &wire.Account{Id: w.open[:]}), journal.ID{}, journal.Contradictions, "it says that it is"},
		{"an entry with a value", w.home, func(txn *badger.Txn) error { return txn.Set(firstKey(txn, 'o'), []byte("x")) }, journal.ID{}, journal.DamagedRecord, "has a value"},
		{"who it is cannot be read", w.home, rewriteAt("mb"), journal.ID{}, journal.DamagedRecord, "checksum"},
		{"how far it had come cannot be read", w.home, rewriteAt("mm"), journal.ID{}, journal.DamagedRecord, "checksum"},

		{"a mailbox without what is in it", w.holder, remove('n'), w.held, journal.MissingEntry, "index"},
		{"a hand-over without its thread", w.holder, hand(w.held, func(h *wire.Handover) { h.Threaded = true }), w.held, journal.MissingRecord, "has no thread"},
		{"a hand-over for an address that is not there", w.holder, hand(w.held, func(h *wire.Handover) { h.Agent = 99 }), w.held, journal.MissingRecord, "address number 99"},
		{"a hand-over without what was sent", w.holder, without(w.held, "v"), w.held, journal.MissingRecord, "has no envelope"},
		{"a rejected one without what was sent", w.holder, without(w.rejected, "v"), w.rejected, journal.MissingRecord, "has no envelope"},
		{"a hand-over that history does not know", w.holder, remove('r'), w.settled, journal.MissingEntry, "the history does not know"},
		{"a report under another number", w.holder, editAt([]byte("q"), func(r *wire.Report) { r.No = 99 }), journal.ID{}, journal.BrokenReports, "says it is 99"},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			v := c.at.copied(t)
			v.plant(c.plant)
			r, err := journal.Verify(v.dir)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(r.Damages, func(d journal.Damage) bool {
				return d.Kind == c.kind && strings.Contains(d.What, c.words) && (c.of.IsZero() || d.Intent == c.of)
			}) || slices.ContainsFunc(r.Damages, func(d journal.Damage) bool { return d.Kind == journal.DamagedFile }) {
				t.Errorf("found %q; want %s of %s that says %q, and all that comes after it", r.Damages, c.kind, c.of, c.words)
			}
		})
	}
}

// earlier has a journal be one whose dead letters are not all in their index yet.
func earlier(txn *badger.Txn) error {
	return editAt([]byte("mb"), func(b *wire.Birth) { b.BroughtTo = 0 })(txn)
}

// letGo has a journal have let go of what had ended by now.
func letGo(txn *badger.Txn) error {
	return editAt([]byte("mm"), func(m *wire.Meta) { m.LetGoMs = time.Now().UnixMilli() })(txn)
}

func both(one, two func(*badger.Txn) error) func(*badger.Txn) error {
	return func(txn *badger.Txn) error { return errors.Join(one(txn), two(txn)) }
}

// put writes a record.
func put(key, body []byte) func(*badger.Txn) error {
	return func(txn *badger.Txn) error { return txn.Set(key, journal.Seal(key, 1, body)) }
}

// putOther writes a record under an id that is not its own.
func putOther(class byte, m proto.Message) func(*badger.Txn) error {
	return func(txn *badger.Txn) error {
		body, err := proto.Marshal(m)
		return errors.Join(err, put(append([]byte{class}, bytes.Repeat([]byte{7}, 16)...), body)(txn))
	}
}

// What is not there and need not be is no damage.
func TestVerifyMissesNothingThatMayBeGone(t *testing.T) {
	t.Parallel()
	w := setupTied(t)
	head := func(id journal.ID, change func(*wire.Head)) func(*badger.Txn) error { return edit('i', id, change) }
	answered, err := proto.Marshal(&wire.Dedupe{Id: w.held[:]})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		gone  string
		at    *world
		plant func(*badger.Txn) error
		words string // that are not said
	}{
		{"what an ended one had sent", w.home, all(without(w.done, "v"), head(w.done, func(h *wire.Head) { h.SentLost = true })), ""},
		{"what an ended hand-over had sent", w.holder, all(without(w.settled, "v"), edit('h', w.settled, func(h *wire.Handover) { h.SentLost = true })), ""},
		{"the head of what was answered here", w.holder, put(append([]byte{'d'}, make([]byte, 32)...), answered), "names intent"},
		{"the entry of a dead letter of an earlier program", w.home, both(earlier, head(w.dead, func(h *wire.Head) { h.DeadMs = 0 })), "its head says"},
		{"a step that has ended", w.home, both(edit('j', w.flow, func(p *wire.Plan) { p.Parts[0].Status = uint32(state.Completed) }), without(w.step, "i")), "waits for its part"},
		{"what a successor had sent", w.home, without(w.next, "v"), "was redriven as"},
		{"a task that was purged", w.home, all(without(w.task, "ivt"), put(append([]byte{'y'}, w.task[:]...), nil)), "there is no such intent"},
		{"a successor that was let go", w.home, both(letGo, head(w.dead, func(h *wire.Head) { h.RedrivenAs[15] ^= 1 })), "was redriven as"},
		{"a successor of a clock that was wrong", w.home, both(letGo, head(w.dead, func(h *wire.Head) { h.RedrivenAs[0] = 0x7f })), "was redriven as"},
	} {
		t.Run(c.gone, func(t *testing.T) {
			t.Parallel()
			v := c.at.copied(t)
			v.plant(c.plant)
			r, err := journal.Verify(v.dir)
			if err != nil || c.at == w.holder && r.Live != 1 {
				t.Errorf("%v: %d are open", err, r.Live)
			}
			for _, d := range r.Damages {
				if strings.Contains(d.What, c.words) {
					t.Errorf("found %v", d)
				}
			}
		})
	}
}

// rewriteAt puts a wrong bit into the record under a key.
func rewriteAt(key string) func(*badger.Txn) error {
	return func(txn *badger.Txn) error {
		item, err := txn.Get([]byte(key))
		if err != nil {
			return err
		}
		rec, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		rec[len(rec)-1] ^= 1
		return txn.Set([]byte(key), rec)
	}
}

// What history has let go, or an operator has purged, is nothing that is missing.
func TestVerifyKnowsWhatWasLetGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: t.TempDir()}
		w.open(journal.Options{History: journal.History{HistoryBodies: time.Nanosecond, HistoryFor: time.Nanosecond}})
		dies := func() (dead, next journal.ID) {
			w.accept()
			h := w.local(time.Minute)
			w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Nack, Reject: true})
			got, err := w.j.Redrive(t.Context(), journal.Redrive{ID: h.ID})
			if err != nil {
				t.Fatal(err)
			}
			return h.ID, got.ID
		}
		first, gone := dies()
		h := w.local(time.Minute)
		w.settle(journal.Settle{ID: gone, Lease: h.Lease, Action: journal.Ack})
		time.Sleep(2 * time.Millisecond) // what is purged was made after the other has ended
		second, purged := dies()
		h = w.local(time.Minute)
		w.settle(journal.Settle{ID: purged, Lease: h.Lease, Action: journal.Nack, Reject: true})
		if errs, err := w.j.Purge(t.Context(), []journal.ID{purged}, "ann"); err != nil || errs[0] != nil {
			t.Fatal(err, errs)
		}
		time.Sleep(2 * time.Millisecond) // ends are on record by the millisecond
		w.letGo()
		for _, id := range []journal.ID{gone, purged} {
			if got, err := w.j.Get(id); err == nil {
				t.Errorf("%s is here, %s", id, got.Status())
			}
		}
		for _, id := range []journal.ID{first, second} {
			if got := w.status(id); got != state.Failed {
				t.Errorf("the dead letter is %s", got)
			}
		}
		w.whole()
	})
}
