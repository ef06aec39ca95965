package main

import (
	"net"
	"strings"
	"testing"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule   string
		answer answer
		exit   int
		want   []string
	}{
		{
			"not found", answer{status: 404, body: `{"title":"No such intent","detail":"I is not known here","error":{"code":"intent_not_found","message":"m"}}`},
			exitNotFound, []string{"error: cannot get I (I is not known here)\n  \"pannier list\" shows what", "[intent_not_found]"},
		},
		{
			"conflict", answer{status: 409, body: `{"detail":"ended","error":{"code":"intent_ended"}}`},
			exitRefused, []string{"(ended)", "[intent_ended]"},
		},
		{"forbidden", answer{status: 403, body: `{"error":{"code":"policy_denied","message":"no"}}`}, exitRefused, []string{"(no)", "[policy_denied]"}},
		{
			"rate limited", answer{status: 429, body: `{"detail":"slow"}`, header: map[string]string{"Retry-After": "3"}},
			exitRefused, []string{"try again in 3 s"},
		},
		{"no key", answer{status: 401, body: `{"detail":"no key","error":{"code":"auth_failed"}}`}, exitAuth, []string{"--key / PANNIER_API_KEY", "[auth_failed]"}},
		{
			"fields", answer{status: 422, body: `{"detail":"/to_agent too short","errors":[{"pointer":"/to_agent","detail":"too short"}],"error":{"code":"schema_invalid"}}`},
			exitUsage, []string{"(/to_agent too short)", "[schema_invalid]"},
		},
		{"broken sidecar", answer{status: 500, body: `{"title":"Internal error"}`}, exitError, []string{"(Internal error)"}},
		{"somebody else", answer{status: 502, body: `<html>`}, exitError, []string{"not as a sidecar would", "[not_a_sidecar]"}},
		{"an answer that is no JSON", answer{status: 200, body: `<html>`}, exitError, []string{"read the answer of"}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			s := newSidecarDouble(t, row.answer)
			got := pannier(t, "", "get", "I", "--addr", s.addr)
			if got.exit != row.exit || got.stdout != "" {
				t.Errorf("exit %d, stdout %q; want %d and nothing", got.exit, got.stdout, row.exit)
			}
			for _, want := range row.want {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("stderr is\n%s\nand does not contain\n%s", got.stderr, want)
				}
			}
		})
	}
}

func TestRefusalAsJSONIsWhatCame(t *testing.T) {
	t.Parallel()
	const body = `{"status":409,"error":{"code":"intent_ended"}}`
	s := newSidecarDouble(t, answer{status: 409, body: body})
	got := pannier(t, "", "get", "I", "-o", "json", "--addr", s.addr)
	if got.exit != exitRefused || got.stdout != "" || got.stderr != body+"\n" {
		t.Errorf("exit %d, stdout %q, stderr %q; want %d, nothing, the document", got.exit, got.stdout, got.stderr, exitRefused)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	for _, args := range [][]string{{"get", "I"}, {"send", "--to", "b"}, {"wait", "I"}, {"poll", "b"}} {
		got := pannier(t, "", append(args, "--addr", addr)...)
		want := "error: cannot reach the sidecar at " + addr + " (connection refused)\n  start one with \"pannier dev\", or set --addr / PANNIER_ADDR  [sidecar_unreachable]\n"
		if got.exit != exitUnreachable || got.stderr != want {
			t.Errorf("%v: exit %d, stderr\n%swant %d\n%s", args, got.exit, got.stderr, exitUnreachable, want)
		}
	}
}
