package e2e_test

import (
	"math/rand/v2"
	"os"
	"sort"
	"strings"
	"testing"
	"time"
)

// TestKillLoop kills home, holder and both, hundreds of times, under traffic
// in both directions through the mailbox: shop → billing over the wire, and
// shop → shop on home's local path. E2E_KILLS=n makes a shorter run of n
// SIGKILLs.
func TestKillLoop(t *testing.T) {
	total := number(t, "E2E_KILLS", 340)
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("E2E_SEED"); v != "" {
		seed = uint64(number(t, "E2E_SEED", 0))
	}
	t.Logf("seed %d: E2E_SEED=%d repeats the schedule", seed, seed)
	home, holder := startPair(t, nil)
	c := &crowd{t: t, h: &history{}, home: home, holder: holder, finished: map[string]bool{}}
	c.begin()
	n := &nemesis{crowd: c, rnd: rand.New(rand.NewPCG(seed, seed))}
	n.run(total)
	c.drain()
	c.readFinals()

	r := check(c.h)
	for _, v := range c.protests {
		r.bad("%s", v)
	}
	n.print()
	r.print(t.Logf)
	for i, v := range r.violations {
		if i == 20 {
			t.Errorf("and %d more", len(r.violations)-i)
			break
		}
		t.Error(v)
	}
	if len(r.violations) > 0 {
		c.tell(r.violations[0])
	}
	for _, s := range []*sidecar{home, holder} {
		if log := s.stderr(); strings.Contains(log, "panic:") || strings.Contains(log, "fatal error:") {
			t.Errorf("%s panicked", s.set.name)
		}
		if code, _ := s.stop(); code != 0 {
			t.Errorf("%s: exit code %d at the end", s.set.name, code)
		}
		s.verify()
	}
}

// nemesis kills, and restarts what it killed.
type nemesis struct {
	*crowd
	rnd      *rand.Rand
	restarts []time.Duration
}

func (n *nemesis) run(total int) {
	for _, victim := range n.schedule(total) {
		n.pause(40, 260)
		n.strike(victim)
	}
}

// schedule has a third each of home and holder, and of rounds that take both
// at once as many as keep the promised numbers, in random order.
func (n *nemesis) schedule(total int) []string {
	both := max(total*50/300, 1)
	single := max((total-2*both+1)/2, 1)
	var rounds []string
	for range both {
		rounds = append(rounds, "both")
	}
	for range single {
		rounds = append(rounds, "home", "holder")
	}
	n.rnd.Shuffle(len(rounds), func(i, j int) { rounds[i], rounds[j] = rounds[j], rounds[i] })
	return rounds
}

func (n *nemesis) pause(from, to int) {
	time.Sleep(time.Duration(from+n.rnd.IntN(to-from)) * time.Millisecond) // the schedule itself, not a wait for something
}

func (n *nemesis) strike(victim string) {
	var down []*sidecar
	if victim != "holder" {
		down = append(down, n.home)
	}
	if victim != "home" {
		down = append(down, n.holder)
	}
	n.rnd.Shuffle(len(down), func(i, j int) { down[i], down[j] = down[j], down[i] })
	at, busy := time.Now(), n.busy()
	for _, s := range down {
		s.proc.cmd.Process.Kill()
	}
	for _, s := range down {
		s.awaitExit()
	}
	rounds := 1
	for _, s := range down {
		s.launch()
	}
	if n.rnd.IntN(10) == 0 { // a second time, while it recovers
		n.pause(1, 80)
		rounds++
		for _, s := range down {
			s.proc.cmd.Process.Kill()
			s.awaitExit()
			s.launch()
		}
	}
	for _, s := range down {
		s.awaitReady()
		up := time.Now()
		n.restarts = append(n.restarts, up.Sub(s.proc.began))
		for range rounds {
			n.h.mu.Lock()
			n.h.kills = append(n.h.kills, killed{who: s.set.name, at: at, up: up, busy: busy})
			n.h.mu.Unlock()
		}
	}
	if victim == "both" {
		n.both.Add(1)
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
	n.t.Logf("figure: %d SIGKILLs: %d of home, %d of holder, %d times both at once; %d %% with work in flight",
		all, kills["home"], kills["holder"], n.both.Load(), busy*100/all)
	n.t.Logf("figure: ready again after %v (median), %v (longest)",
		n.restarts[len(n.restarts)/2].Round(time.Millisecond), n.restarts[len(n.restarts)-1].Round(time.Millisecond))
	if busy*100 < all*80 {
		n.t.Errorf("only %d of %d kills met work in flight", busy, all)
	}
}
