package e2e_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// drain runs `pannier drain` over the journal of a sidecar that is down, with the
// settings it had but its addresses.
func (s *sidecar) drain(args ...string) (said string, code int) {
	s.t.Helper()
	argv := append([]string{"drain", "--journal", s.dir, "--config", s.conf, "--peer", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, s.set.args...)
	cmd := exec.Command(s.bin, append(argv, args...)...)
	cmd.Env = cleanEnv()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestDrainOrphanedJournals: of three replicas two are gone for good, stopped one after
// the other, with intents of their own in their journals, some on record at one another.
// They are emptied one after the other by jobs that have no app, and all of it is handed
// over at the one that stays, once each.
func TestDrainOrphanedJournals(t *testing.T) {
	t.Parallel()
	p := newPlane(t, nil)
	p.start()
	var all [3]*sidecar
	for i := range all {
		all[i] = start(t, setup{name: fmt.Sprint("replica ", i), agents: []string{billing}, args: []string{"--xds", p.addr},
			config: map[string]string{"holder_lost_after": "2s"}})
	}
	const each = 20
	posted := map[string]bool{} // a payload
	for i, s := range all {
		for n := range each {
			k := fmt.Sprintf("%d-%d", i, n)
			s.post(billing, map[string]any{"k": k})
			posted[k] = true
		}
	}
	eventually(t, "intents of each at another", func() error {
		for i, s := range all {
			held := 0
			for _, in := range s.list("limit=200") {
				if in.Role == "holder" {
					held++
				}
			}
			if held == 0 && i > 0 {
				return fmt.Errorf("none at replica %d", i)
			}
		}
		return nil
	})
	stays, orphans := all[0], all[1:]
	for i := range orphans {
		s := orphans[len(orphans)-1-i]
		if code, _ := s.stop(); code != 0 {
			t.Errorf("stop of %s: exit code %d", s.set.name, code)
		}
	}
	// Nobody takes anything yet: what the journal is home of has been offered as far as
	// it is taken, and is told of.
	if said, code := orphans[0].drain("--timeout", "1s"); code != 1 || !strings.Contains(said, " to "+billing+": ") || !strings.Contains(said, "intents of its own") {
		t.Errorf("with nobody there: exit code %d\n%s", code, said)
	}

	got := map[string]int{}
	over := make(chan struct{})
	var app sync.WaitGroup
	app.Go(func() {
		for {
			for _, it := range stays.poll(billing, take{limit: 10, wait: 1}) {
				var payload struct{ K string }
				if err := json.Unmarshal(it.Payload, &payload); err != nil {
					t.Error(err)
				}
				got[payload.K]++
				stays.ack(it, nil)
			}
			select {
			case <-over:
				return
			default:
			}
		}
	})
	for i, s := range orphans {
		if said, code := s.drain("--timeout", "60s"); code != 0 || !strings.HasSuffix(said, "nothing is left: the journal can go\n") {
			t.Errorf("replica %d: exit code %d\n%s", i+1, code, said)
		}
		s.verify()
	}
	eventually(t, "all of the one that stays to end", func() error {
		for _, in := range stays.list("limit=200") {
			if in.Role != "holder" && in.Status != "COMPLETED" {
				return fmt.Errorf("%s is %s: %s", in.ID, in.Status, stays.why(in.ID).Text)
			}
		}
		return nil
	})
	close(over)
	app.Wait()
	for k := range posted {
		if got[k] != 1 {
			t.Errorf("%s was handed over %d times, want once", k, got[k])
		}
	}
}

// TestDrainGivesBack: what a killed holder has goes back to its home, which is asked to
// come to where the journal is now.
func TestDrainGivesBack(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	id := home.post(billing, map[string]any{"n": 1})
	holder.holds(id)
	holder.kill()
	home.kill()
	if said, code := holder.drain("--timeout", "2s"); code != 1 || !strings.Contains(said, id+" to "+billing+": Its home is not connected") {
		t.Errorf("without its home: exit code %d\n%s", code, said)
	}
	home.start()
	if said, code := holder.drain("--timeout", "60s"); code != 0 {
		t.Errorf("exit code %d\n%s", code, said)
	}
	if w := home.why(id); w.HeldBy != "" || w.Attempts.N != 0 {
		t.Errorf("home says held by %q after %d attempts, want nobody and none: %s", w.HeldBy, w.Attempts.N, w.Text)
	}
	holder.start()
	it := holder.take1(billing, take{})
	holder.ack(it, nil)
	home.status(id, "COMPLETED")
}
