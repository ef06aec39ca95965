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
