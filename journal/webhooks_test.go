package journal_test

import (
	"context"
	"errors"
	"testing"

	"pannier/journal"
	"pannier/journal/wire"
)

// TestNoticeAndItsDeliveriesAreOneCommit: all of them are there, or none; and a
// key makes one notice.
func TestNoticeAndItsDeliveriesAreOneCommit(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := context.Background()
	deliveries := func(n, size int) (out []journal.Accept) {
		for range n {
			out = append(out, journal.Accept{Envelope: &wire.Envelope{ToAgent: "webhook:x", Payload: make([]byte, size)}})
		}
		return out
	}
	key := &journal.Key{Hash: [32]byte{1}}
	id, first, _, err := w.j.Publish(ctx, journal.NewID(), &wire.Notice{EventType: "e"}, deliveries(3, 10), key)
	if err != nil || len(first.Deliveries) != 3 {
		t.Fatalf("%v, %v", first, err)
	}
	w.reopen()
	again, kept, replayed, err := w.j.Publish(ctx, journal.NewID(), &wire.Notice{EventType: "e"}, deliveries(3, 10), key)
	if err != nil || !replayed || again != id || len(kept.Deliveries) != 3 {
		t.Errorf("again: %s %v %v %v", again, kept, replayed, err)
	}
	for _, d := range kept.Deliveries {
		if _, err := w.j.Get(journal.ID(d)); err != nil {
			t.Errorf("delivery %x: %v", d, err)
		}
	}
	lost := journal.NewID()
	if _, _, _, err := w.j.Publish(ctx, lost, &wire.Notice{}, deliveries(30, 128<<10), nil); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("more than a commit takes: %v", err)
	}
	if _, err := w.j.Notice(lost); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("of the refused one there is %v", err)
	}
	if list, _, err := w.j.List(journal.Filter{Limit: 100}); err != nil || len(list) != 3 {
		t.Errorf("%d intents, %v", len(list), err)
	}
	for range 400 {
		if _, _, err = w.j.Republish(ctx, id, deliveries(10, 1), nil); err != nil {
			break
		}
	}
	if n, _ := w.j.Notice(id); !errors.Is(err, journal.ErrTooMany) || len(n.Deliveries) > 1000 {
		t.Errorf("%d deliveries, then %v", len(n.Deliveries), err)
	}
}

// TestSubscriptionsAreKept over a restart, with their secrets, and revoked.
func TestSubscriptionsAreKept(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := context.Background()
	in := func(secret string) *wire.Subscription {
		return &wire.Subscription{Owner: "o", CallbackUrl: "http://127.0.0.1:1/", Secret: secret, Active: true}
	}
	s, _, err := w.j.Subscribe(ctx, in("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if again, _, err := w.j.Subscribe(ctx, in(""), nil); err != nil || again.Secret != "secret" || again.CreatedMs != s.CreatedMs {
		t.Errorf("replaced: %v, %v", again, err)
	}
	if _, err := w.j.Unsubscribe(ctx, journal.ID(s.Id)); err != nil {
		t.Error(err)
	}
	w.reopen()
	if all := w.j.Subscriptions(); len(all) != 1 || all[0].RevokedMs == 0 || all[0].Secret != "secret" {
		t.Errorf("after a restart: %v", all)
	}
	if _, err := w.j.Unsubscribe(ctx, journal.NewID()); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("an unknown one: %v", err)
	}
}
