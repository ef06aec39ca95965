package journal_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal"
	"pannier/journal/state"
)

// What is lost of an intent takes what was sent along only where nobody waits for that: what
// was open is a dead letter afterwards, and a dead letter is one still.
func TestAcceptLossKeepsWhatWasSent(t *testing.T) {
	t.Parallel()
	type record struct {
		class byte
		bit   bool // is wrong in it; else it is gone
	}
	kinds := map[string]func(w *world) journal.ID{
		"open":    func(w *world) journal.ID { return w.accept() },
		"a task":  func(w *world) journal.ID { return w.ask(nil) },
		"gated":   func(w *world) journal.ID { return w.gated(journal.Accept{}, part(0, false, "a")) },
		"in hand": func(w *world) journal.ID { w.accept(); return w.local(time.Minute).ID },
		"dead": func(w *world) journal.ID {
			w.accept()
			h := w.local(time.Minute)
			w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Nack, Reject: true})
			return h.ID
		},
		"done": func(w *world) journal.ID {
			w.accept()
			h := w.local(time.Minute)
			w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
			return h.ID
		},
	}
	for _, c := range []struct {
		damage  string
		records []record
		kinds   []string
		status  state.Status // zero: it is gone
		dead    state.Reason
	}{
		{"a head", []record{{'i', false}}, []string{"open", "a task", "gated", "in hand"}, state.Failed, state.ReasonSidecarFault},
		{"a bit of a head", []record{{'i', true}}, []string{"open", "a task", "gated", "in hand"}, state.Failed, state.ReasonSidecarFault},
		{"head and log", []record{{'i', false}, {'t', true}}, []string{"open", "a task", "in hand"}, state.Failed, state.ReasonSidecarFault},
		{"a log", []record{{'t', false}}, []string{"open", "a task", "gated", "in hand"}, state.Failed, state.ReasonSidecarFault},
		{"a bit of a log", []record{{'t', true}}, []string{"open", "a task", "gated", "in hand"}, state.Failed, state.ReasonSidecarFault},
		{"a bit of a thread", []record{{'T', true}}, []string{"a task"}, state.Failed, state.ReasonSidecarFault},
		{"a bit of a plan", []record{{'j', true}}, []string{"gated"}, state.Failed, state.ReasonSidecarFault},
		{"a head", []record{{'i', false}}, []string{"dead"}, state.Failed, state.ReasonRejected},
		{"a bit of a head", []record{{'i', true}}, []string{"dead"}, state.Failed, state.ReasonRejected},
		{"a log", []record{{'t', false}}, []string{"dead"}, state.Failed, state.ReasonRejected},
		{"a log", []record{{'t', true}}, []string{"done"}, state.Completed, 0},
		{"a head", []record{{'i', true}}, []string{"done"}, 0, 0},
		{"head and log", []record{{'i', true}, {'t', false}}, []string{"done"}, 0, 0},
	} {
		for _, kind := range c.kinds {
			t.Run(c.damage+" of one that is "+kind, func(t *testing.T) {
				t.Parallel()
				w := setup(t)
				id := kinds[kind](w)
				other := w.accept()
				if err := w.j.Close(); err != nil {
					t.Fatal(err)
				}
				w.plant(func(txn *badger.Txn) error {
					for _, r := range c.records {
						key := append([]byte{r.class}, id[:]...)
						item, err := txn.Get(key)
						if err != nil {
							return err
						}
						rec, err := item.ValueCopy(nil)
						if err != nil {
							return err
						}
						if rec[len(rec)-1] ^= 1; r.bit {
							err = txn.Set(key, rec)
						} else {
							err = txn.Delete(key)
						}
						if err != nil {
							return err
						}
					}
					return nil
				})
				w.goOn()
				i, err := w.j.Get(id)
				switch {
				case c.status == 0 && err == nil:
					t.Errorf("it is %s, want it gone", i.Status())
				case c.status == 0:
				case err != nil:
					t.Fatalf("%v: %s", err, w.j.Stats().Loss)
				case i.Status() != c.status || i.DeadReason() != c.dead || string(i.Envelope.Payload) != string(envelope().Payload):
					t.Errorf("it is %s, dead for %q, with the body %s; want %s, dead for %q", i.Status(), i.DeadReason(), i.Envelope.Payload, c.status, c.dead)
				}
				if got := w.status(other); got != state.Submitted {
					t.Errorf("the one beside it is %s", got)
				}
				w.whole()
				w.counted()
			})
		}
	}
}

// A body that lacks a part is as good as none: nobody stumbles over it.
func TestAcceptLossOfAPartOfABody(t *testing.T) {
	t.Parallel()
	for part := range 4 {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			id, other := w.acceptLarge(), w.accept()
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			w.plant(func(txn *badger.Txn) error {
				return txn.Delete(binary.BigEndian.AppendUint16(append([]byte{'v'}, id[:]...), uint16(part)))
			})
			w.goOn()
			if got, beside := w.status(id), w.status(other); got != state.Failed || beside != state.Submitted {
				t.Errorf("it is %s, the one beside it %s: %s", got, beside, w.j.Stats().Loss)
			}
			w.holds()
		})
	}
}
