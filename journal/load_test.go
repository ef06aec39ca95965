package journal_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal"
	"pannier/journal/wire"
)

// remembering is a journal, stopped, with a record of each kind that a start has in memory.
func remembering(t *testing.T) *world {
	t.Helper()
	w := setup(t)
	w.accept()
	if _, err := w.j.AddAccount(t.Context(), &wire.Account{Agent: "shipping", Name: "shipping"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.j.PutSchema(t.Context(), &wire.Schema{SemanticType: "a.b.c.v1", Json: []byte("{}")}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.j.Subscribe(t.Context(), &wire.Subscription{Owner: "a", CallbackUrl: "http://127.0.0.1:1/"}, nil); err != nil {
		t.Fatal(err)
	}
	w.schedule(&wire.Schedule{})
	if _, err := w.j.SawHome(t.Context(), journal.Identity{Journal: journal.NewID(), Epoch: 1}, "127.0.0.1:1", nil); err != nil {
		t.Fatal(err)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// What a start has in memory it reads all of, or it does not start: without an account its keys
// are refused, without a number it is given twice. It says which record it is, and that it may be
// gone on without.
func TestStartNamesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	w := remembering(t)
	for _, c := range []struct {
		record, named string
		plant         func(*badger.Txn) error
	}{
		{"an address", `address "` + billing + `"`, flipBit("u" + billing)},
		{"an account", "service account ", flipFirst('f')},
		{"a schema", `schema "a.b.c.v1"`, flipFirst('s')},
		{"a subscription", "subscription ", flipFirst('b')},
		{"a schedule", "schedule ", flipFirst('S')},
		{"a home", "home ", flipFirst('p')},
		{"how far it had come", `journal "m"`, flipBit("mm")},
		{"who it is", `journal "b"`, flipBit("mb")},
	} {
		t.Run(c.record, func(t *testing.T) {
			t.Parallel()
			v := w.copied(t)
			v.plant(c.plant)
			v.wantDamage("is damaged: " + c.named)
			v.wantDamage("--accept-loss")
			v.goOn()
			v.holds()
		})
	}
}

// flipFirst puts a wrong bit into the first record of a class.
func flipFirst(class byte) func(*badger.Txn) error {
	return rewrite(class, func(rec []byte) []byte { rec[len(rec)-1] ^= 1; return rec })
}

// So does one that brings a journal of before to the present schema.
func TestOldJournalWithWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	for class, named := range map[byte]string{'i': "head of ", 't': "events of "} {
		t.Run(named, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			id := w.accept()
			h := w.local(time.Minute)
			w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Nack, Reject: true})
			if err := errors.Join(w.j.MakeOld(id), w.j.Break(id, class), w.j.Close()); err != nil {
				t.Fatal(err)
			}
			w.wantDamage("is damaged: " + named + id.String())
			w.wantDamage("--accept-loss")
			w.goOn()
			w.holds()
		})
	}
}
