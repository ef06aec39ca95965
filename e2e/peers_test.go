package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestPeersFileEditedBrokenMended: the file is watched; a bad edit keeps the
// last good one and says so.
func TestPeersFileEditedBrokenMended(t *testing.T) {
	t.Parallel()
	const parcel = "agent://acme/prod/parcel"
	first := start(t, setup{name: "billing", agents: []string{billing}})
	second := start(t, setup{name: "parcel", agents: []string{parcel}})
	path := peersFile(t, map[string][]string{billing: {first.peer}})
	home := start(t, setup{name: "home", agents: []string{shop}, peers: path})
	carry(t, home, first)

	id := home.post(parcel, map[string]any{"n": 1})
	second.takeNothing(parcel, 1)
	writePeers(t, path, map[string][]string{billing: {first.peer}, parcel: {second.peer}})
	it := second.take1(parcel, take{})
	if it.ID != id {
		t.Fatalf("handed over %s, want %s", it.ID, id)
	}
	second.ack(it, nil)

	for name, text := range map[string]string{
		"not YAML":        "agents: [",
		"unknown key":     fmt.Sprintf("agent: {%q: [%q]}\n", billing, first.peer),
		"address no port": fmt.Sprintf("agents: {%q: [\"127.0.0.1\"]}\n", billing),
		"half written":    "agents:\n  \"agent://acme/prod/bill",
	} {
		said := len(home.stderr())
		replaceFile(t, path, []byte(text))
		eventually(t, name+": a complaint on stderr", func() error {
			if news := home.stderr()[said:]; !strings.Contains(news, "peers") {
				return fmt.Errorf("stderr says %q", news)
			}
			return nil
		})
		carry(t, home, first) // by the last good one
	}

	writePeers(t, path, map[string][]string{billing: {second.peer}}) // mended, and moved
	id = home.post(parcel, map[string]any{"n": 2})
	first.takeNothing(billing, 0)
	writePeers(t, path, map[string][]string{billing: {first.peer}, parcel: {second.peer}})
	if it := second.take1(parcel, take{}); it.ID != id {
		t.Errorf("handed over %s, want %s", it.ID, id)
	}
	carry(t, home, first)
}

// TestBrokenPeersFileAtStart is a mistake of whoever starts it, who is there
// to read it: exit 2.
func TestBrokenPeersFileAtStart(t *testing.T) {
	t.Parallel()
	broken := peersFile(t, nil)
	replaceFile(t, broken, []byte("agents: ["))
	for name, path := range map[string]string{"broken": broken, "missing": broken + ".missing"} {
		s := newSidecar(t, setup{name: name, agents: []string{shop}, peers: path})
		s.launch()
		s.awaitExit()
		if code := s.proc.cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(s.stderr(), "peers") {
			t.Errorf("%s: exit code %d:\n%s", name, code, s.stderr())
		}
	}
}

// TestPeersFileRewrittenInFlight: the file says one thing after the other, right and wrong,
// while intents flow to agents that are alike. None is held or handed over where it is not
// for, and all arrive once the file is right.
func TestPeersFileRewrittenInFlight(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	agents := []string{inFull(alike[0]), inFull(alike[1]), inFull(alike[2])}
	var holders []*sidecar
	right := map[string][]string{}
	for n, agent := range agents {
		s := newSidecar(t, setup{name: fmt.Sprintf("holder %d", n), agents: []string{agent}})
		s.launch()
		holders, right[agent] = append(holders, s), []string{s.peer}
	}
	path := peersFile(t, right)
	home := start(t, setup{name: "home", agents: []string{shop}, peers: path})
	for _, s := range holders {
		s.awaitReady()
	}

	h := &history{}
	var over atomic.Bool
	var apps sync.WaitGroup
	t.Cleanup(func() { over.Store(true); apps.Wait() })
	for n, s := range holders {
		apps.Go(func() {
			for !over.Load() {
				began := time.Now()
				for _, it := range s.poll(agents[n], take{limit: 10, wait: 1, lease: 600}) {
					h.hand(handed{span: span{began, time.Now()}, item: it, holder: s.set.name, agent: agents[n]})
					began := time.Now()
					result, _ := json.Marshal(resultOf(it))
					a := s.settle("ack", it, map[string]any{"result": resultOf(it)})
					h.settle(settled{span: span{began, time.Now()}, id: it.ID, lease: it.Lease, verb: "ack", code: a.code, result: string(result)})
				}
			}
		})
	}
	sent := map[string]string{} // to whom, by id
	for n := range 40 {
		wrong := maps.Clone(right)
		a, b := agents[rnd.IntN(3)], agents[rnd.IntN(3)]
		switch rnd.IntN(5) {
		case 0:
			wrong[a], wrong[b] = wrong[b], wrong[a]
		case 1:
			delete(wrong, a)
		case 2:
			wrong[a] = []string{holders[0].peer, holders[1].peer, holders[2].peer}
		case 3: // half written, in place
			if err := os.WriteFile(path, []byte(fmt.Sprintf("agents:\n  %s: [%q]\n  %s: [\"127", a, right[b][0], b)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		writePeers(t, path, wrong)
		for i := range 5 {
			to, key := agents[rnd.IntN(3)], fmt.Sprintf("%d-%d", n, i)
			began := time.Now()
			id := home.post(either(rnd, strings.TrimPrefix(to, "agent://")), map[string]any{"key": key})
			h.post(posted{span: span{began, time.Now()}, key: key, id: id})
			sent[id] = to
		}
	}
	writePeers(t, path, right)
	for id := range sent {
		home.status(id, "COMPLETED")
	}
	over.Store(true)
	apps.Wait()
	h.final = finals(home, h.acked())
	r := check(h)
	for id, to := range sent {
		if got := h.final[id].to; got != to {
			r.bad("%s: sent to %s, shown for %s", id, to, got)
		}
	}
	for n, s := range holders {
		for _, i := range s.listAll("") {
			if sent[i.ID] != agents[n] {
				r.bad("%s: sent to %s, held by the sidecar of %s", i.ID, sent[i.ID], agents[n])
			}
		}
	}
	for _, v := range r.violations {
		t.Error(v)
	}
	r.print(t.Logf)
	for line := range bytes.Lines(home.operate("GET", "/metrics", nil).body) {
		if bytes.HasPrefix(line, []byte("pannier_intent_offers_total")) && bytes.Contains(line, []byte(`"refused"`)) {
			t.Logf("figure: offers refused, by peer: %s", line)
		}
	}
}
