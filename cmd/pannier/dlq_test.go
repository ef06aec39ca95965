package main

import (
	"strings"
	"testing"
)

const (
	dryRun = `{"ok":true,"matched":2,"more":false,"purged":0,"failed":[],"until":"2026-01-02T03:04:05Z","sample":[{"intent_id":"I","reason":"rejected","intent_type":"o.v1","to_agent":"b","ended_at":"T"}]}`
	purged = `{"ok":true,"matched":2,"purged":2,"failed":[]}`
)

// TestDeadLetterVerbs: what each asks, and what it prints.
func TestDeadLetterVerbs(t *testing.T) {
	t.Parallel()
	const letter = `{"intent_id":"I","status":"FAILED","reason":"exhausted","code":"delivery_failed","last_answer":"no","intent_type":"o.v1","to_agent":"b","ended_at":"T",` +
		`"attempts":{"n":1,"max":1,"failed":[{"attempt":1,"at":"T1","reason":"nack","message":"no"}]},"payload":{"a": 1}}`
	for _, row := range []struct {
		rule, args, answer string
		want               call
		stdout             string
	}{
		{
			"list: filters", `list --to acme/prod/b --reason rejected --type o.v1 --since 2026-01-01T00:00:00Z --open --limit 5`, `{"dead_letters":[` + letter + `],"next_cursor":"C"}`,
			call{method: "GET", path: "/v1/admin/dead-letters", query: "agent=agent%3A%2F%2Facme%2Fprod%2Fb&limit=5&reason=rejected&redriven=false&since=2026-01-01T00%3A00%3A00Z&type=o.v1"},
			"there may be more: --cursor C\n",
		},
		{
			"list: what waits for an operator", `list --waiting`, `{"dead_letters":[]}`,
			call{method: "GET", path: "/v1/admin/dead-letters", query: "limit=50&waiting=true"}, "INTENT",
		},
		{
			"show: its attempts", `show I`, `{"dead_letter":` + letter + `}`,
			call{method: "GET", path: "/v1/admin/dead-letters/I"}, "T1  hand-over 1  nack  no\n",
		},
		{
			"show: a record that could not be read", `show I`, `{"dead_letter":{"intent_id":"I","status":"FAILED","reason":"sidecar_fault","code":"sidecar_fault","error":{"code":"sidecar_fault","message":"checksum mismatch"},"payload":{},"content_lost":true}}`,
			call{method: "GET", path: "/v1/admin/dead-letters/I"}, "error     checksum mismatch\nattempts  0 of 0\npayload   lost: it cannot be read",
		},
		{
			"show: an error of the app's own", `show I`, `{"dead_letter":{"intent_id":"I","status":"FAILED","reason":"sidecar_fault","intent_type":"o.v1","error":{"message":[1]},"payload":{}}}`,
			call{method: "GET", path: "/v1/admin/dead-letters/I"}, "type      o.v1\npayload   {}\n",
		},
		{
			"redrive: one, as it was", `redrive I`, `{"intent_id":"J"}`,
			call{method: "POST", path: "/v1/admin/dead-letters/I/redrive", body: `{}`}, "J\n",
		},
		{
			"redrive: one, changed", `redrive I --data {"a":1} --new-to x/y/z --deliver-by 2099-01-01T00:00:00Z`, `{"intent_id":"J"}`,
			call{method: "POST", path: "/v1/admin/dead-letters/I/redrive", body: `{"payload":{"a":1},"to_agent":"agent://x/y/z","deliver_by":"2099-01-01T00:00:00Z"}`}, "J\n",
		},
		{
			"redrive: many", `redrive I K --rate 7`, `{"redriven":[{"intent_id":"I","redriven_as":"J"},{"intent_id":"K","redriven_as":"L"}],"failed":[]}`,
			call{method: "POST", path: "/v1/admin/dead-letters/redrive", body: `{"ids":["I","K"],"rate_per_second":7,"limit":35}`}, "I J\nK L\n",
		},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			s := newSidecarDouble(t, answer{status: 200, body: row.answer})
			got := pannier(t, "", append(append([]string{"dlq"}, strings.Fields(row.args)...), "--admin", s.addr)...)
			if got.exit != 0 || !strings.Contains(got.stdout, row.stdout) {
				t.Errorf("exit %d, stdout %q, stderr %q; want 0 and %q", got.exit, got.stdout, got.stderr, row.stdout)
			}
			calls := s.calls()
			if len(calls) != 1 {
				t.Fatalf("asked %+v", calls)
			}
			c := calls[0]
			if c.method != row.want.method || c.path != row.want.path || c.query != row.want.query || c.body != row.want.body {
				t.Errorf("asked %s %s?%s %s\nwant  %s %s?%s %s", c.method, c.path, c.query, c.body, row.want.method, row.want.path, row.want.query, row.want.body)
			}
		})
	}
}

// TestRedriveGoesOn: page after page until there is none, with the limit of the first.
func TestRedriveGoesOn(t *testing.T) {
	t.Parallel()
	s := newSidecarDouble(t,
		answer{status: 200, body: `{"redriven":[{"intent_id":"I","redriven_as":"J"}],"failed":[],"until":"2026-01-02T03:04:05Z","next_cursor":"C"}`},
		answer{status: 200, body: `{"redriven":[],"failed":[{"intent_id":"K","code":"home_unreachable","message":"away"}],"until":"2026-01-02T03:04:05Z","next_cursor":null}`},
	)
	got := pannier(t, "", "dlq", "redrive", "--all", "--rate", "1", "-o", "json", "--admin", s.addr)
	if got.exit != exitPartly || !strings.Contains(got.stdout, `"redriven":[{"intent_id":"I","redriven_as":"J"}],"failed":[{"intent_id":"K"`) || !strings.Contains(got.stderr, "1 redriven, 1 failed") {
		t.Errorf("exit %d, stdout %q, stderr %q", got.exit, got.stdout, got.stderr)
	}
	calls := s.calls()
	if len(calls) != 2 || calls[0].body != `{"filter":{},"rate_per_second":1,"limit":5}` || calls[1].body != `{"filter":{"until":"2026-01-02T03:04:05Z"},"rate_per_second":1,"limit":5,"cursor":"C"}` {
		t.Errorf("asked %+v", calls)
	}
}

// TestPurgeIsTyped: it removes nothing before the number is typed back, and then
// only what was counted.
func TestPurgeIsTyped(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, args, stdin string
		exit, calls       int
	}{
		{"the number", "--all", "2\n", 0, 2},
		{"another number", "--all", "3\n", exitRefused, 1},
		{"nothing", "--all", "", exitRefused, 1},
		{"unasked", "--all --yes", "", 0, 2},
		{"a dry run", "--all --dry-run", "2\n", 0, 1},
		{"neither ids nor a filter", "", "2\n", exitUsage, 0},
		{"ids and a filter", "I --reason rejected", "2\n", exitUsage, 0},
		{"a bad time", "--since soon", "2\n", exitUsage, 0},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			s := newSidecarDouble(t, answer{status: 200, body: dryRun}, answer{status: 200, body: purged})
			got := pannier(t, row.stdin, append(append([]string{"dlq", "purge"}, strings.Fields(row.args)...), "--admin", s.addr)...)
			calls := s.calls()
			if got.exit != row.exit || len(calls) != row.calls {
				t.Fatalf("exit %d after %d calls, want %d after %d: %s", got.exit, len(calls), row.exit, row.calls, got.stderr)
			}
			if row.calls > 0 && calls[0].body != `{"filter":{},"dry_run":true}` {
				t.Errorf("first asked %s", calls[0].body)
			}
			if row.calls == 2 && calls[1].body != `{"filter":{"until":"2026-01-02T03:04:05Z"},"confirm":2}` {
				t.Errorf("then asked %s", calls[1].body)
			}
		})
	}
}

func TestRedriveAsksNothingInVain(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"redrive", "redrive --all --data {}", "redrive I K --new-to b", "redrive I K --rate 0", "redrive I --data no", "show", "list I"} {
		s := newSidecarDouble(t, answer{status: 500})
		got := pannier(t, "", append(append([]string{"dlq"}, strings.Fields(args)...), "--admin", s.addr)...)
		if got.exit != exitUsage || len(s.calls()) > 0 {
			t.Errorf("%s: exit %d after %d calls: %s", args, got.exit, len(s.calls()), got.stderr)
		}
	}
}
