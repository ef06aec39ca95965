package e2e_test

import (
	"fmt"
	"strings"
	"testing"
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
