package outbound_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/wire/peer"
	"pannier/outbound"
)

var canary = []outbound.Share{{Subset: "stable", Weight: 95}, {Subset: "canary", Weight: 5}}

// near fails unless n of total is within four standard deviations of the share:
// one run in 16,000 is not.
func near(t *testing.T, n, total int, share float64) {
	t.Helper()
	want, sigma := float64(total)*share, math.Sqrt(float64(total)*share*(1-share))
	t.Logf("canary: %d of %d, want %.0f ± %.0f", n, total, want, 4*sigma)
	if math.Abs(float64(n)-want) > 4*sigma {
		t.Errorf("%d of %d, want %.0f ± %.0f", n, total, want, 4*sigma)
	}
}

// Ten thousand intents are divided as the weights say, each goes where its id
// says, and all arrive.
func TestSplit(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.roomy(addrA), w.roomy(addrB)
		w.peers.zones(billing, outbound.Endpoint{Address: addrA, Subset: "stable"}, outbound.Endpoint{Address: addrB, Subset: "canary"})
		w.peers.policy(billing, outbound.Policy{Split: canary})
		const total = 10_000
		w.accept(billing, total)
		got := map[*fake]map[journal.ID]bool{a: {}, b: {}}
		for n := 0; len(got[a])+len(got[b]) < total; n++ {
			if n > 1000 {
				t.Fatalf("%d and %d arrived", len(got[a]), len(got[b]))
			}
			for f, seen := range got {
				offers := f.offers()
				for _, o := range offers {
					seen[offerID(o)] = true
				}
				if len(offers) > 0 {
					f.hold(offers...)
				}
			}
			w.after(10 * time.Millisecond)
		}
		near(t, len(got[b]), total, 0.05)
		for f, want := range map[*fake]int{a: 0, b: 1} {
			for id := range got[f] {
				if share := outbound.ShareOf(id, canary); share != want {
					t.Fatalf("%v went to share %d, its id says %d", id, want, share)
				}
			}
		}
	})
}

// Of a subset that nobody can serve the intents wait, and the others pass them;
// why says so. Its weight taken away they go to the others, at once.
func TestSplitSubsetDown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.roomy(addrA)
		w.peers.zones(billing, outbound.Endpoint{Address: addrA, Subset: "stable"})
		w.peers.policy(billing, outbound.Policy{Split: canary})
		ids := w.accept(billing, 400)
		var waiting []journal.ID
		for _, id := range ids {
			if outbound.ShareOf(id, canary) == 1 {
				waiting = append(waiting, id)
			}
		}
		if len(waiting) == 0 {
			t.Fatal("none of 400 for the canary")
		}
		a.hold(a.expect(len(ids) - len(waiting))...)
		w.wantWhy(waiting[0], "no_subset")
		w.peers.zones(billing, outbound.Endpoint{Address: addrA, Subset: "stable"}, outbound.Endpoint{Address: addrB, Subset: "canary"})
		w.after(time.Minute)
		w.wantWhy(waiting[0], "breaker_open", "no_subset")
		a.expect(0)
		more := w.accept(billing, 100)
		stable := 0
		for _, id := range more {
			if outbound.ShareOf(id, canary) == 0 {
				stable++
			} else {
				waiting = append(waiting, id)
			}
		}
		a.hold(a.expect(stable)...)
		w.untouched(waiting...)
		w.peers.policy(billing, outbound.Policy{Split: []outbound.Share{{Subset: "stable", Weight: 95}, {Subset: "canary", Weight: 0}}})
		a.hold(a.expect(len(waiting))...)
	})
}

// A subset with little room does not hold up the others, and gets its own part as
// it makes room. A restart changes nothing.
func TestSplitSlowSubset(t *testing.T) {
	half := []outbound.Share{{Subset: "stable", Weight: 1}, {Subset: "canary", Weight: 1}}
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.roomy(addrA), w.holder(addrB)
		place := func() {
			w.peers.zones(billing, outbound.Endpoint{Address: addrA, Subset: "stable"}, outbound.Endpoint{Address: addrB, Subset: "canary"})
			w.peers.policy(billing, outbound.Policy{Split: half})
		}
		b.set(func() { b.mu.credits[billing] = 3 })
		place()
		ids := w.accept(billing, 300)
		n := 0
		for _, id := range ids {
			n += 1 - outbound.ShareOf(id, half)
		}
		w.after(time.Second)
		fast := a.expect(n)
		a.hold(fast...)
		slow := b.expect(3)
		b.hold(slow...)
		b.credit(billing, 5)
		slow = append(slow, b.expect(2)...)
		b.hold(slow[3:]...)
		for f, held := range map[*fake][]*peer.Offer{a: fast, b: slow} {
			f.set(func() {
				for _, o := range held {
					f.mu.holdings = append(f.mu.holdings, holding(offerID(o), 1))
				}
				f.mu.credits[billing] = 20_000
			})
		}
		w.restart(a.cut, b.cut)
		place()
		w.after(time.Second)
		a.expect(0)
		b.expect(len(ids) - n - len(slow))
	})
}

// Weights may be changed: only what has to moves.
func TestShareOf(t *testing.T) {
	t.Parallel()
	moved, n := 0, [2]int{}
	for range 10_000 {
		id := journal.NewID()
		before := outbound.ShareOf(id, canary)
		after := outbound.ShareOf(id, []outbound.Share{{Subset: "stable", Weight: 90}, {Subset: "canary", Weight: 10}})
		n[after]++
		switch {
		case before == 1 && after == 0:
			t.Fatalf("%v left a share that grew", id)
		case before != after:
			moved++
		}
	}
	near(t, n[1], 10_000, 0.10)
	near(t, moved, 10_000, 0.05)
	id, err := journal.ParseID("0193a7f2-5b0e-7c3a-9d6e-0f1a2b3c4d5e")
	if err != nil {
		t.Fatal(err)
	}
	var shares string
	for _, weights := range [][2]int{{1, 99}, {30, 70}, {50, 50}, {70, 30}, {99, 1}} {
		shares += fmt.Sprint(outbound.ShareOf(id, []outbound.Share{{Subset: "a", Weight: weights[0]}, {Subset: "b", Weight: weights[1]}}))
	}
	if shares != "11100" { // never again: an update of the program must not move an intent
		t.Errorf("the intent falls to %s", shares)
	}
}
