package journal_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pannier/journal"
	"pannier/journal/wire"
)

var oneKey, otherKey = journal.ID{1}, journal.ID{2}

// accountSteps are one commit each. Repeated, none changes what the last one left.
func accountSteps(w *world) []func() error {
	ctx, id := context.Background(), journal.AccountID("shipping")
	return []func() error{
		func() error {
			_, err := w.j.AddAccount(ctx, &wire.Account{Agent: "shipping", Name: "shipping"})
			return err
		},
		func() error {
			_, err := w.j.AddAccountKey(ctx, id, &wire.AccountKey{Id: oneKey[:], Hash: []byte("1")})
			return err
		},
		func() error { _, err := w.j.RevokeAccountKey(ctx, id, oneKey); return err },
		func() error { return w.j.SetKilled(ctx, "shipping", true, "x") },
		func() error {
			_, err := w.j.AddAccountKey(ctx, id, &wire.AccountKey{Id: otherKey[:], Hash: []byte("2")})
			return err
		},
	}
}

// accountProgress is how many of the steps are there.
func accountProgress(w *world) int {
	acc, err := w.j.Account(journal.AccountID("shipping"))
	killed := w.j.Killed("shipping")
	switch {
	case err != nil && !killed:
		return 0
	case len(acc.Keys) == 0 && !killed:
		return 1
	case len(acc.Keys) == 1 && acc.Keys[0].RevokedMs == 0 && !killed:
		return 2
	case len(acc.Keys) == 1 && !killed:
		return 3
	case len(acc.Keys) == 1:
		return 4
	case killed && acc.Keys[len(acc.Keys)-1].RevokedMs == 0:
		return 5
	}
	return -1
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := context.Background()
	// Many at once for one agent are one.
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := w.j.AddAccount(ctx, &wire.Account{Agent: fmt.Sprintf("a%d", i%2), Name: "n"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(w.j.Accounts()); n != 2 {
		t.Fatalf("%d accounts, want 2: one for each agent", n)
	}
	id := journal.AccountID("a0")
	// The record is bounded: those revoked longest ago make room, one in force never.
	key := func(n byte) journal.ID { return journal.ID{n} }
	add := func(n byte) error {
		k := key(n)
		_, err := w.j.AddAccountKey(ctx, id, &wire.AccountKey{Id: k[:], Hash: []byte{n}})
		return err
	}
	for n := byte(1); n <= 16; n++ {
		if err := add(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(17); !errors.Is(err, journal.ErrTooManyAccounts) {
		t.Errorf("the 17th key: %v, want ErrTooManyAccounts", err)
	}
	revoked, err := w.j.RevokeAccountKey(ctx, id, key(3))
	if err != nil || revoked.RevokedMs == 0 {
		t.Fatalf("revoke: %v, %v", err, revoked)
	}
	w.reopen()
	if again, err := w.j.RevokeAccountKey(ctx, id, key(3)); err != nil || again.RevokedMs != revoked.RevokedMs {
		t.Errorf("revoked again: %v, %v, want the first time", err, again)
	}
	if err := add(17); err != nil {
		t.Errorf("after one was revoked: %v", err)
	}
	if _, err := w.j.RevokeAccountKey(ctx, id, key(3)); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("the revoked key has made room: got %v, want ErrNotFound", err)
	}
	if _, err := w.j.DropAccount(ctx, id); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if _, err := w.j.Account(id); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("after it was dropped: %v, want ErrNotFound", err)
	}
	for _, err := range []error{add(1), errOf(w.j.DropAccount(ctx, id)), errOf(w.j.RevokeAccountKey(ctx, id, key(1)))} {
		if !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("of an account that is gone: %v, want ErrNotFound", err)
		}
	}
	if n := len(w.j.Accounts()); n != 1 {
		t.Errorf("%d accounts, want 1", n)
	}
	w.whole()
}

func errOf[T any](_ T, err error) error { return err }
