package inbound_test

import (
	"sync/atomic"
	"testing"
	"time"

	"pannier/inbound"
	"pannier/journal"
)

// roomy says whether there is room, counts who asks, and knows for how much last.
type roomy struct {
	yes                    bool
	claims, waivers, bytes atomic.Int32
}

func (r *roomy) Claim(bytes int) bool {
	r.claims.Add(1)
	r.bytes.Store(int32(bytes))
	return r.yes
}

func (r *roomy) Waive() { r.waivers.Add(1) }

// A pull that is promised no room for what it may be given is handed one intent; with room
// all there is. One that waits claims none.
func TestPullClaimsRoom(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	w.ready(100)
	home.window(100)
	pull := func(r *roomy) int {
		got, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 100, Lease: time.Minute, Room: r})
		if err != nil {
			t.Fatal(err)
		}
		return len(got)
	}
	none := &roomy{}
	if n := pull(none); n != 0 || none.claims.Load() != 0 {
		t.Fatalf("a pull of nothing got %d and claimed room %d times", n, none.claims.Load())
	}
	for _, id := range home.burst(5, 100) {
		home.verdict(id)
	}
	if n := pull(none); n != 1 || none.claims.Load() != 1 || none.waivers.Load() != 0 {
		t.Errorf("without room a pull got %d of 5 after %d claims", n, none.claims.Load())
	}
	if all := (&roomy{yes: true}); pull(all) != 4 || all.claims.Load() != 1 {
		t.Errorf("with room a pull did not get the other four after one claim, but %d", all.claims.Load())
	}
	for range 30 { // by now it is known how small they are
		home.verdict(home.burst(1, 100)[0])
		pull(&roomy{yes: true})
	}
	home.verdict(home.burst(1, 100)[0])
	if small := (&roomy{yes: true}); pull(small) != 1 || small.bytes.Load() > 100*4<<10 {
		t.Errorf("a pull of 100 small intents claims %d bytes", small.bytes.Load())
	}
	for _, id := range home.burst(4, 1<<10) {
		home.verdict(id)
	}
	got, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 100, Lease: time.Minute, Bytes: 2<<10 + 500})
	if err != nil || len(got) != 2 {
		t.Errorf("a pull that has room for two of four got %d, %v", len(got), err)
	}
}
