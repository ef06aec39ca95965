package journal_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal"
)

// An idempotency key that is lost is refused until its day is over, where the index still has it:
// what it was used for may be here, as the one that it was is, and is done once. Where both are
// gone it is said of which intent.
func TestAcceptLossOfAnIdempotencyKey(t *testing.T) {
	t.Parallel()
	hash := [32]byte{7}
	record := string(append([]byte{'d'}, hash[:]...))
	gone := func(txn *badger.Txn) error { return txn.Delete([]byte(record)) }
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{})
	again := func(w *world) (journal.Accepted, error) {
		e := envelope()
		e.IdempotencyKey = "once"
		got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e, Key: &journal.Key{Hash: hash, Fingerprint: [32]byte{1}}}})
		if err != nil {
			t.Fatal(err)
		}
		return got[0], got[0].Err
	}
	first, err := again(w)
	if err != nil {
		t.Fatal(err)
	}
	other := w.accept() // without a key
	w.whole()
	for _, c := range []struct {
		damage  string
		plant   func(*badger.Txn) error
		refused bool
	}{
		{"a bit of it", flipBit(record), true},
		{"it is gone", gone, true},
		{"with its entry", all(gone, remove('g')), false},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			v := w.copied(t)
			v.T = t
			v.plant(c.plant)
			if !c.refused {
				v.plant(remove('o')) // else nothing is found
			}
			v.goOn()
			said := v.j.Stats().Loss
			if !strings.Contains(said, "intents have lost their idempotency key: "+first.ID.String()) || strings.Contains(said, other.String()) || strings.Contains(said, "1 idempotency keys are refused") != c.refused {
				t.Errorf("said to be lost: %q", said)
			}
			got, err := again(v)
			if c.refused != errors.Is(err, journal.ErrKeyLost) || c.refused != errors.Is(err, journal.ErrKeyConflict) || !c.refused && (got.Replayed || err != nil) {
				t.Errorf("sent again: %v, %+v", err, got)
			}
			v.whole()
		})
	}
	t.Run("its day is over", func(t *testing.T) {
		t.Parallel()
		v := w.copied(t)
		v.T = t
		v.plant(gone)
		v.goOn()
		if err := v.j.Close(); err != nil {
			t.Fatal(err)
		}
		v.open(journal.WithWall(journal.Options{}, func() time.Time { return time.Now().Add(25 * time.Hour) }))
		if err := v.j.LetGo(); err != nil {
			t.Fatal(err)
		}
		if got, err := again(v); err != nil || got.Replayed {
			t.Errorf("sent the day after: %v, %+v", err, got)
		}
		v.whole()
	})
}
