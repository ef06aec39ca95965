package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"pannier/journal"
)

const (
	maxHeldWait = 5 * time.Second
	maxPrefer   = 60 * time.Second
)

// awaitHeld waits until all of the intents are in the journal of another
// sidecar, and returns the durability reached: "local" where there are none.
// An intent that home hands over itself is in one journal and stays "local".
func (a *API) awaitHeld(ctx context.Context, ids []journal.ID) string {
	if len(ids) == 0 {
		return "local"
	}
	ctx, cancel := context.WithTimeout(ctx, maxHeldWait)
	defer cancel()
	reached := "receiver"
	for _, id := range ids {
		err := a.await(ctx, id, func(i *journal.Intent) bool { return i.Head == nil || place(i) != journal.PlaceDue })
		i, getErr := a.journal.Get(id)
		if err != nil || getErr != nil || i.Head == nil || len(i.Head.Holder) == 0 || journal.ID(i.Head.Holder) == a.journal.Identity().Journal {
			reached = "local" // either way it is accepted, and what is known here decides
		}
	}
	return reached
}

func place(i *journal.Intent) journal.Place { return journal.Place(i.Head.Place) }

// await returns when enough says so, or with the error of ctx or of the
// journal, or when the API drains.
func (a *API) await(ctx context.Context, id journal.ID, enough func(*journal.Intent) bool) error {
	wake, stop := a.journal.Watch(id) // first watch, then read: no change is missed
	defer stop()
	for {
		i, err := a.journal.Get(id)
		if err != nil || enough(i) {
			return err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-a.drain:
			return errDraining
		}
	}
}

// awaitEnd returns when the intent has ended, or else with why the wait is over.
// One that the key of the request is no longer good for is refused like a new
// request.
func (a *API) awaitEnd(r *http.Request, id journal.ID, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	ctx, forbid := a.whileAllowed(ctx, r, func(c *Caller) bool { return a.see(withCaller(r, c), id) == nil })
	defer forbid()
	err := a.await(ctx, id, func(i *journal.Intent) bool { return i.Status().Terminal() })
	r, refused := a.authenticate(r)
	if refused != nil {
		return refused
	}
	return cmp.Or(a.see(r, id), err)
}

// addOutcome adds the intent to the answer where the caller prefers to wait
// for its end and it came in time.
func (a *API) addOutcome(w http.ResponseWriter, r *http.Request, d *doc, id journal.ID) error {
	wait, ok := preferWait(r, maxPrefer)
	if !ok {
		return nil
	}
	w.Header().Set("Preference-Applied", "wait="+seconds(wait))
	if err := a.awaitEnd(r, id, wait); err != nil {
		return nil // not in time: the intent is accepted, and that is the answer
	}
	if a.takeAnswerOf(w, r, id) != nil {
		return nil // it is accepted either way
	}
	i, err := a.journal.Get(id)
	if err != nil {
		return nil
	}
	d.key("intent")
	a.writeIntent(d, i, whole)
	return nil
}
