package e2e_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// copyOf is a sidecar with a copy of the journal of another, which is not running: one
// identity twice, as where a volume is cloned and both are mounted.
func copyOf(t testing.TB, s *sidecar, name string) *sidecar {
	t.Helper()
	set := s.set
	set.name, set.dir = name, t.TempDir()
	if err := os.CopyFS(set.dir, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	return newSidecar(t, set)
}

// copies are the apps around two copies of one journal.
type copies struct {
	t    testing.TB
	over atomic.Bool
	apps sync.WaitGroup

	mu     sync.Mutex
	said   map[string][]string // results that apps have given and no sidecar has refused, by intent
	handed int
}

func newCopies(t testing.TB) *copies {
	c := &copies{t: t, said: map[string][]string{}}
	t.Cleanup(func() { c.over.Store(true); c.apps.Wait() })
	return c
}

// work takes and acks what comes at one sidecar.
func (c *copies) work(s *sidecar) {
	c.apps.Go(func() {
		for !c.over.Load() {
			items, _ := s.tryPoll(billing, take{limit: 4, wait: 1, lease: 2})
			for _, it := range items {
				result, _ := json.Marshal(map[string]any{"at": s.set.name, "lease": it.Lease})
				c.mu.Lock()
				c.handed++
				c.said[it.ID] = append(c.said[it.ID], string(result))
				c.mu.Unlock()
				a := s.settle("ack", it, map[string]any{"result": json.RawMessage(result)})
				if a.err != nil || a.code < 400 || a.code >= 500 {
					continue // where a sidecar is killed before it answers, it may count
				}
				c.mu.Lock()
				c.said[it.ID] = slices.DeleteFunc(c.said[it.ID], func(s string) bool { return s == string(result) })
				c.mu.Unlock()
			}
		}
	})
}

// ended waits until every intent that a copy of a home has accepted has ended there, with
// what an app has said of it.
func (c *copies) ended(home *sidecar, ids []string) {
	c.t.Helper()
	for _, id := range ids {
		got := home.status(id, "COMPLETED")
		c.mu.Lock()
		said := slices.Clone(c.said[id])
		c.mu.Unlock()
		if !slices.ContainsFunc(said, func(result string) bool { return jsonEqual(result, got.Result) }) {
			c.t.Errorf("%s ended at %s with %s, and apps have said %v", id, home.set.name, got.Result, said)
		}
		if err := legal(home.events(id), "COMPLETED"); err != nil {
			c.t.Errorf("%s at %s: %v", id, home.set.name, err)
		}
	}
}

// TestTwoLiveCopiesOfAReceiver: two sidecars run with copies of one journal. What both held
// may be handed over by both. Home has a stream with one of them at a time, and says so; an
// answer may wait for the next stream, since both give the numbers of reports. Once one of
// them runs alone, with an epoch of its own, nothing is lost, and nothing has ended with what
// no app has said.
func TestTwoLiveCopiesOfAReceiver(t *testing.T) {
	t.Parallel()
	home, one := pair(t, nil)
	home.launch()
	one.start()
	home.awaitReady()
	one.takeNothing(billing, 0) // it may hold more than one
	var ids []string
	for n := range 6 {
		ids = append(ids, home.post(billing, map[string]any{"n": n}))
		one.holds(ids[n])
	}
	one.kill()
	two := copyOf(t, one, "two")
	writePeers(t, home.set.peers, map[string][]string{billing: {one.peer, two.peer}})
	one.launch()
	two.launch()
	one.awaitReady()
	two.awaitReady()
	c := newCopies(t)
	c.work(one)
	c.work(two)
	eventually(t, "the copy to be found out", func() error {
		ids = append(ids, home.post(billing, map[string]any{"n": len(ids)}))
		// Of two that are as far as each other neither is refused yet.
		if !strings.Contains(home.stderr(), "one journal answers at two addresses") && !strings.Contains(home.stderr(), "an older copy of a journal") {
			return errors.New("nobody says so")
		}
		return nil
	})
	one.kill()
	two.kill()
	one.set.args = append(one.set.args, "--accept-loss")
	one.start()
	c.ended(home, ids)
	one.kill()
	one.verify()
	home.kill()
	home.verify()
	t.Logf("figure: a receiver twice: %d intents, %d hand-overs", len(ids), c.handed)
}

// TestTwoLiveCopiesOfASender: two sidecars take posts with copies of one journal. The
// receiver says that one takes the place of the other. What either has accepted is delivered
// when it runs alone, with an epoch of its own, and ends with what an app has said of it.
func TestTwoLiveCopiesOfASender(t *testing.T) {
	t.Parallel()
	one, holder := pair(t, nil)
	one.launch()
	holder.start()
	one.awaitReady()
	holder.takeNothing(billing, 0)
	accepted := map[*sidecar][]string{}
	for n := range 6 {
		id := one.post(billing, map[string]any{"n": n})
		accepted[one] = append(accepted[one], id)
		holder.holds(id)
	}
	one.kill()
	two := copyOf(t, one, "two")
	accepted[two] = slices.Clone(accepted[one])
	one.launch()
	two.launch()
	one.awaitReady()
	two.awaitReady()
	c := newCopies(t)
	c.work(holder)
	for n := range 20 {
		for _, s := range []*sidecar{one, two} {
			accepted[s] = append(accepted[s], s.post(billing, map[string]any{"n": n}))
		}
	}
	eventually(t, "the receiver to say that there are two", func() error {
		if !strings.Contains(holder.stderr(), "a newer stream takes over") {
			return errors.New("it does not")
		}
		return nil
	})
	one.kill()
	two.kill()
	for epochs, s := range []*sidecar{one, two} {
		s.set.args = append(s.set.args, "--accept-loss")
		for range epochs { // the epoch that the first has had is no longer to be had
			s.start()
			s.kill()
		}
		s.start()
		c.ended(s, accepted[s])
		s.kill()
		s.verify()
	}
	t.Logf("figure: a sender twice: %d intents, %d hand-overs", len(accepted[one])+len(accepted[two])-6, c.handed)
}
