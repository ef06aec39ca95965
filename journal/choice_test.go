package journal_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pannier/journal"
)

// What is chosen under a key stays chosen: a repeat after a crash goes on with it.
func TestChoose(t *testing.T) {
	t.Parallel()
	w := setup(t)
	first, second := []journal.ID{journal.NewID(), journal.NewID()}, []journal.ID{journal.NewID()}
	key := &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{2}}
	choose := func(key *journal.Key, ids, want []journal.ID, again bool) {
		t.Helper()
		got, replayed, err := w.j.Choose(context.Background(), key, ids)
		if err != nil || replayed != again || !slices.Equal(got, want) {
			t.Fatalf("chosen %v, replayed %t, %v; want %v, %t", got, replayed, err, want, again)
		}
	}
	choose(key, first, first, false)
	choose(key, second, first, true)
	w.reopen()
	choose(key, second, first, true)
	none := &journal.Key{Hash: [32]byte{2}}
	choose(none, nil, nil, false)
	choose(none, second, []journal.ID{}, true)
	other := &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{3}}
	if _, _, err := w.j.Choose(context.Background(), other, second); !errors.Is(err, journal.ErrKeyConflict) {
		t.Fatalf("for something else: %v, want a conflict", err)
	}
}
