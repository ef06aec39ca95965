package main

import (
	"strings"
	"testing"
)

const xdsBody = `{"ok":true,"configured":true,"stale":true,"confirmed":"2026-01-02T03:04:05Z",
	"servers":[{"address":"10.0.0.1:7410","state":"waiting","since":"2026-01-02T03:04:06Z","last_error":"connection refused","nacks":2}],
	"agents":[{"agent":"billing","known":true,"endpoints":1,"paused":true},{"agent":"orders","known":false},{"agent":"cart","known":true,"endpoints":0},{"agent":"mine","known":true,"endpoints":0,"here":true}],
	"resources":[{"type":"cluster","name":"billing.prod.acme","state":"NACKED","version":"0123456789abcdef0123","age_seconds":90,"error":"type: STRICT_DNS is not used here"}]}`

func TestXDSStatus(t *testing.T) {
	t.Parallel()
	s := newSidecarDouble(t, answer{status: 200, body: xdsBody})
	got := pannier(t, "", "xds", "status", "--admin", s.addr)
	if got.exit != 0 || s.calls()[0].path != "/v1/admin/xds" {
		t.Fatalf("exit %d, asked %+v\n%s", got.exit, s.calls(), got.stderr)
	}
	for _, want := range []string{
		"10.0.0.1:7410  waiting  2026-01-02T03:04:06Z  2        connection refused",
		"billing  1 endpoint, paused", "orders   unknown", "mine     0 endpoints, here",
		"cluster  billing.prod.acme  NACKED  0123456789abcdef  1m30s  type: STRICT_DNS is not used here",
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no line %q in\n%s", want, got.stdout)
		}
	}
}

func TestXDSStatusWithoutServers(t *testing.T) {
	t.Parallel()
	s := newSidecarDouble(t, answer{status: 200, body: `{"ok":true,"configured":false}`})
	if got := pannier(t, "", "xds", "status", "--admin", s.addr); got.exit != 0 || got.stdout != "this sidecar asks no control plane (--xds)\n" {
		t.Errorf("exit %d: %s%s", got.exit, got.stdout, got.stderr)
	}
}

func TestXDSDump(t *testing.T) {
	t.Parallel()
	s := newSidecarDouble(t, answer{status: 200, body: xdsBody})
	if got := pannier(t, "", "xds", "dump", "--admin", s.addr); got.exit != 0 || strings.TrimSpace(got.stdout) != xdsBody || s.calls()[0].path != "/v1/admin/xds/dump" {
		t.Errorf("exit %d: %s%s", got.exit, got.stdout, got.stderr)
	}
}

// Each thing that is wrong has its line, and only what keeps intents from being
// delivered makes the exit code 1.
func TestCheck(t *testing.T) {
	t.Parallel()
	fineStatus := answer{status: 200, body: `{"ok":true,"checks":[{"name":"journal","ok":true},{"name":"durable","ok":false,"advice":true,"detail":"a ram disk"},{"name":"discovery","ok":false,"advice":true}]}`}
	noPeers := answer{status: 200, body: `{"ok":true,"peers":[]}`}
	noXDS := answer{status: 200, body: `{"ok":true,"configured":false}`}
	for _, row := range []struct {
		name               string
		status, peers, xds answer
		code               int
		want               []string
	}{
		{"all well", fineStatus, noPeers, noXDS, 0, []string{"ok  journal\n!!  durable: a ram disk\n"}},
		{"a failed journal", answer{status: 200, body: `{"checks":[{"name":"journal","ok":false,"detail":"EIO"}]}`}, noPeers, noXDS, 1, []string{"XX  journal: EIO\n"}},
		{"a peer down", fineStatus, answer{status: 200, body: `{"peers":[{"address":"h:1","state":"down","last_error":"refused","held":2},{"address":"h:2","state":"open"}]}`}, noXDS, 1,
			[]string{"XX  peer h:1: down: refused, holding 2 intents\n", "ok  peer h:2: open\n"}},
		{"discovery", fineStatus, noPeers, answer{status: 200, body: xdsBody}, 1, []string{
			"!!  control plane 10.0.0.1:7410: waiting: connection refused\n", "!!  discovery: stale: what was known ",
			"XX  resource cluster billing.prod.acme: refused: type: STRICT_DNS is not used here\n    mend it",
			"!!  agent orders: asked for, and", "!!  agent cart: nobody serves it", "!!  agent billing: paused",
		}},
		{"not announced", fineStatus, noPeers, answer{status: 200, body: `{"configured":true,"servers":[{"address":"h:1","state":"connected","not_announced":"not for x"}]}`}, 1, []string{
			"XX  control plane h:1: connected, and does not announce this sidecar as it asks to be: not for x\n    others may not find it",
		}},
	} {
		s := newSidecarDouble(t, row.status, row.peers, row.xds)
		got := pannier(t, "", "check", "--admin", s.addr)
		if got.exit != row.code {
			t.Errorf("%s: exit code %d, want %d\n%s", row.name, got.exit, row.code, got.stderr)
		}
		for _, want := range row.want {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("%s: no %q in\n%s", row.name, want, got.stdout)
			}
		}
		if strings.Contains(got.stdout, "agent mine") {
			t.Errorf("%s: an agent served here is complained of:\n%s", row.name, got.stdout)
		}
	}
	s := newSidecarDouble(t, fineStatus, noPeers, noXDS)
	if got := pannier(t, "", "check", "--admin", s.addr, "-o", "json"); got.exit != 0 || !strings.Contains(got.stdout, `{"ok":true,"checks":[{"about":"journal","level":"ok"}`) {
		t.Errorf("as JSON: exit %d\n%s", got.exit, got.stdout)
	}
}
