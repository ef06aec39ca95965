package e2e_test

import (
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
)

// killsByDefault makes more than 300 SIGKILLs of the two loops together.
const killsByDefault = 225

// TestKillLoop kills home, holder and both, hundreds of times, under traffic
// in both directions through the mailbox: shop → billing over the wire, and
// shop → shop on home's local path. E2E_KILLS=n makes a shorter run of n
// SIGKILLs.
func TestKillLoop(t *testing.T) {
	t.Parallel()
	total := number(t, "E2E_KILLS", killsByDefault)
	home, holder := startPair(t, nil)
	n := newNemesis(t, home, holder)
	both := max(total*50/300, 1)
	n.plan(both, home, holder)
	n.plan(max((total-2*both+1)/2, 1), home)
	n.plan(max((total-2*both+1)/2, 1), holder)
	n.runAndJudge()
}

// TestKillLoopWithALostHolder is the same with two holders of billing and a
// home that gives one up after 300 ms: what a killed holder had is offered to
// the other one all the time, and comes back late.
func TestKillLoopWithALostHolder(t *testing.T) {
	t.Parallel()
	total := number(t, "E2E_KILLS", killsByDefault) / 4
	c := startTrio(t, map[string]string{"holder_lost_after": "300ms", "unclean_wait": "300ms"})
	n := newNemesis(t, c.home, c.holders[:]...)
	n.h.cutOff = true
	n.stayDown = 900
	n.plan(max(total/4, 1), c.home)
	n.plan(max(total/4, 1), c.holders[0])
	n.plan(max(total/4, 1), c.holders[1])
	n.plan(max(total/8, 1), c.home, c.holders[0])
	n.runAndJudge()
}

// nemesis kills, and restarts what it killed.
type nemesis struct {
	*crowd
	rnd      *rand.Rand
	rounds   [][]*sidecar // each is killed at once
	stayDown int          // at most so many milliseconds
	together int          // times that home and a holder were killed at once
	restarts []time.Duration
}

func newNemesis(t *testing.T, home *sidecar, holders ...*sidecar) *nemesis {
	c := &crowd{t: t, h: &history{}, home: home, holders: holders, finished: map[string]bool{}}
	return &nemesis{crowd: c, rnd: seeded(t)}
}

// seeded is a source of random numbers; its seed is in the log.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(number(t, "E2E_SEED", int(time.Now().UnixNano())))
	t.Logf("seed %d: E2E_SEED=%d repeats the schedule", seed, seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// plan adds rounds in which these are killed at once.
func (n *nemesis) plan(rounds int, victims ...*sidecar) {
	for range rounds {
		n.rounds = append(n.rounds, victims)
	}
}

func (n *nemesis) runAndJudge() {
	n.begin()
	n.rnd.Shuffle(len(n.rounds), func(i, j int) { n.rounds[i], n.rounds[j] = n.rounds[j], n.rounds[i] })
	for _, victims := range n.rounds {
		n.pause(40, 260)
		n.strike(slices.Clone(victims))
	}
	n.drain()
	n.readFinals()
	n.judge()
	for _, s := range append(n.holders, n.home) {
		if log := s.stderr(); strings.Contains(log, "panic:") || strings.Contains(log, "fatal error:") {
			n.t.Errorf("%s panicked", s.set.name)
		}
		if code, _ := s.stop(); code != 0 {
			n.t.Errorf("%s: exit code %d at the end", s.set.name, code)
		}
		s.verify()
	}
}

func (n *nemesis) judge() {
	r := check(n.h)
	for _, v := range n.protests {
		r.bad("%s", v)
	}
	n.print()
	r.print(n.t.Logf)
	for i, v := range r.violations {
		if i == 20 {
			n.t.Errorf("and %d more", len(r.violations)-i)
			break
		}
		n.t.Error(v)
	}
	if len(r.violations) > 0 {
		n.tell(r.violations[0])
	}
}

func (n *nemesis) pause(from, to int) {
	time.Sleep(time.Duration(from+n.rnd.IntN(to-from)) * time.Millisecond) // the schedule itself, not a wait for something
}

func (n *nemesis) strike(down []*sidecar) {
	n.rnd.Shuffle(len(down), func(i, j int) { down[i], down[j] = down[j], down[i] })
	busy := n.busy()
	var kills []time.Time
	kill := func() {
		kills = append(kills, time.Now())
		for _, s := range down {
			s.proc.cmd.Process.Kill()
		}
		for _, s := range down {
			s.awaitExit()
		}
		if n.stayDown > 0 {
			n.pause(0, n.stayDown)
		}
		for _, s := range down {
			s.launch()
		}
	}
	kill()
	if n.rnd.IntN(10) == 0 { // a second time, while it recovers
		n.pause(1, 80)
		kill()
	}
	for _, s := range down {
		s.awaitReady()
		up := time.Now()
		n.restarts = append(n.restarts, up.Sub(s.proc.began))
		for _, at := range kills {
			n.h.mu.Lock()
			n.h.kills = append(n.h.kills, killed{who: s.set.name, at: at, up: up, busy: busy})
			n.h.mu.Unlock()
		}
	}
	if len(down) > 1 {
		n.together += len(kills)
	}
}

func (n *nemesis) print() {
	kills := map[string]int{}
	busy := 0
	for _, k := range n.h.kills {
		kills[k.who]++
		if k.busy > 0 {
			busy++
		}
	}
	all := len(n.h.kills)
	sort.Slice(n.restarts, func(i, j int) bool { return n.restarts[i] < n.restarts[j] })
	n.t.Logf("figure: %d SIGKILLs: %d of home, %d of a holder, %d times both at once; %d %% with work in flight",
		all, kills["home"], all-kills["home"], n.together, busy*100/all)
	n.t.Logf("figure: ready again after %v (median), %v (longest)",
		n.restarts[len(n.restarts)/2].Round(time.Millisecond), n.restarts[len(n.restarts)-1].Round(time.Millisecond))
	if busy*100 < all*80 {
		n.t.Errorf("only %d of %d kills met work in flight", busy, all)
	}
}
