package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each row is one command line: what it must ask, given an answer, and what it must print.
func TestVerbs(t *testing.T) {
	t.Parallel()
	const created = `{"ok":true,"intent_id":"I","status":"SUBMITTED","created_at":"2026-01-02T03:04:05Z"}`
	const oneIntent = `{"ok":true,"intent":{"intent_id":"I","status":"COMPLETED","intent_type":"order.v1","to_agent":"agent://a/b/c","payload":{"a": 1},"result":{"b":2}}}`
	file := filepath.Join(t.TempDir(), "order.json")
	if err := os.WriteFile(file, []byte(`{"from":"file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		rule   string
		args   string // words; ADDR and FILE are filled in
		stdin  string
		answer string
		want   call
		stdout []string // what the output must contain
	}{
		{
			rule: "send: type defaults", args: `send --to billing {"order_id":"ORD-1"} --addr ADDR`, answer: created,
			want:   call{method: "POST", path: "/v1/intents", body: `{"intent_type":"intent.message.v1","to_agent":"billing","payload":{"order_id":"ORD-1"}}`},
			stdout: []string{"I\n"},
		},
		{
			rule: "send: type and payload as arguments", args: `send order.process.v1 {"a":1} --to agent://dev/local/billing --addr ADDR`, answer: created,
			want: call{method: "POST", path: "/v1/intents", body: `{"intent_type":"order.process.v1","to_agent":"agent://dev/local/billing","payload":{"a":1}}`},
		},
		{
			rule: "send: a slash makes an agent URI; no payload is an empty one", args: `send order.v1 --to acme/prod/billing --from acme/prod/orders --addr ADDR`, answer: created,
			want: call{method: "POST", path: "/v1/intents", body: `{"intent_type":"order.v1","to_agent":"agent://acme/prod/billing","from_agent":"agent://acme/prod/orders","payload":{}}`},
		},
		{
			rule: "send: every option, and <>& as written", args: `send --type t.v1 --data {"a":"<&>"} --to b --correlation-id C --durability receiver --max-delivery-attempts 3 --deliver-by 2026-01-02T03:04:05Z --deadline 2027-01-02T03:04:05Z --addr ADDR`, answer: created,
			want: call{method: "POST", path: "/v1/intents", body: `{"intent_type":"t.v1","to_agent":"b","correlation_id":"C","payload":{"a":"<&>"},"delivery":{"durability":"receiver","max_delivery_attempts":3,"deliver_by":"2026-01-02T03:04:05Z","deadline_at":"2027-01-02T03:04:05Z"}}`},
		},
		{
			rule: "send: payload from standard input", args: `send - --to b --addr ADDR`, stdin: `{"from":"stdin"}`, answer: created,
			want: call{method: "POST", path: "/v1/intents", body: `{"intent_type":"intent.message.v1","to_agent":"b","payload":{"from":"stdin"}}`},
		},
		{
			rule: "send: payload from a file", args: `send order.v1 FILE --to b --addr ADDR`, answer: created,
			want: call{method: "POST", path: "/v1/intents", body: `{"intent_type":"order.v1","to_agent":"b","payload":{"from":"file"}}`},
		},
		{
			rule: "send: -o json is the answer", args: `send --to b -o json --addr ADDR`, answer: created,
			want:   call{method: "POST", path: "/v1/intents", body: `{"intent_type":"intent.message.v1","to_agent":"b","payload":{}}`},
			stdout: []string{created + "\n"},
		},
		{
			rule: "get", args: `get I --addr ADDR`, answer: oneIntent,
			want:   call{method: "GET", path: "/v1/intents/I"},
			stdout: []string{"status   COMPLETED\n", `payload  {"a":1}`, `result   {"b":2}`},
		},
		{
			rule: "get: the id is one path segment", args: `get ../x --addr ADDR`, answer: oneIntent,
			want: call{method: "GET", path: "/v1/intents/..%2Fx"},
		},
		{
			rule: "get: -o json byte for byte", args: `get I -o json --addr ADDR`, answer: oneIntent,
			want: call{method: "GET", path: "/v1/intents/I"}, stdout: []string{oneIntent + "\n"},
		},
		{
			rule: "list", args: `list --addr ADDR`, answer: `{"ok":true,"intents":[{"intent_id":"I","status":"WAITING","intent_type":"o.v1","to_agent":"b","updated_at":"T"}]}`,
			want:   call{method: "GET", path: "/v1/intents", query: "limit=50"},
			stdout: []string{"INTENT  STATUS   TYPE  TO  UPDATED\nI       WAITING  o.v1  b   T\n"},
		},
		{
			rule: "list: more", args: `list --cursor C --addr ADDR`, answer: `{"ok":true,"intents":[],"next_cursor":"D"}`,
			want:   call{method: "GET", path: "/v1/intents", query: "cursor=C&limit=50"},
			stdout: []string{"there may be more: --cursor D\n"},
		},
		{
			rule: "list: filters", args: `list --status WAITING --to a/b/c --limit 3 --addr ADDR`, answer: `{"ok":true,"intents":[]}`,
			want: call{method: "GET", path: "/v1/intents", query: "limit=3&status=WAITING&to_agent=agent%3A%2F%2Fa%2Fb%2Fc"},
		},
		{
			rule: "why", args: `why I --addr ADDR`,
			answer: `{"ok":true,"intent_id":"I","status":"SUBMITTED","text":"Waiting for a reader.","causes":[{"code":"no_reader","detail":"nobody polls","until":"T","peer":"P"}],"attempts":{"n":1,"max":10},"held_by":"J"}`,
			want:   call{method: "GET", path: "/v1/intents/I/why"},
			stdout: []string{"SUBMITTED: Waiting for a reader.\n", "nobody polls (P) until T", "1 of 10"},
		},
		{
			rule: "cancel", args: `cancel I --reason changed --addr ADDR`, answer: `{"ok":true,"intent":{"intent_id":"I","status":"CANCELED"},"event":{}}`,
			want:   call{method: "POST", path: "/v1/intents/I/resolve", body: `{"status":"CANCELED","reason":"changed"}`},
			stdout: []string{"CANCELED"},
		},
		{
			rule: "poll", args: `poll dev/local/billing --addr ADDR`,
			answer: `{"ok":true,"intents":[{"intent_id":"I","lease_id":"L","lease_until":"T","delivery_attempt":1,"intent_type":"o.v1","payload":{"a": 1}}],"next_cursor":null}`,
			want:   call{method: "GET", path: "/v1/agents/dev/local/billing/intents", query: "lease_seconds=30&limit=10&wait_seconds=20"},
			stdout: []string{"INTENT  LEASE  UNTIL  ATTEMPT  TYPE  PAYLOAD\nI       L      T      1        o.v1  {\"a\":1}\n"},
		},
		{
			rule: "poll: parts of a second are rounded up", args: `poll billing --max 1 --wait 100ms --lease 1500ms --addr ADDR`, answer: `{"ok":true,"intents":[]}`,
			want: call{method: "GET", path: "/v1/agents/billing/intents", query: "lease_seconds=2&limit=1&wait_seconds=1"},
		},
		{
			rule: "ack", args: `ack I --lease L --addr ADDR`, answer: `{"ok":true,"status":"COMPLETED"}`,
			want: call{method: "POST", path: "/v1/intents/I/ack", body: `{"lease_id":"L"}`}, stdout: []string{"I COMPLETED\n"},
		},
		{
			rule: "ack: with a result", args: `ack I --lease L --result {"paid":true} --addr ADDR`, answer: `{"ok":true}`,
			want: call{method: "POST", path: "/v1/intents/I/ack", body: `{"lease_id":"L","result":{"paid":true}}`},
		},
		{
			rule: "nack", args: `nack I --lease L --delay 30s --reason busy --addr ADDR`, answer: `{"ok":true}`,
			want: call{method: "POST", path: "/v1/intents/I/nack", body: `{"lease_id":"L","delay_seconds":30,"reason":"busy"}`},
		},
		{
			rule: "nack: a delay of nothing is a delay", args: `nack I --lease L --delay 0s --addr ADDR`, answer: `{"ok":true}`,
			want: call{method: "POST", path: "/v1/intents/I/nack", body: `{"lease_id":"L","delay_seconds":0}`},
		},
		{
			rule: "nack: reject", args: `nack I --reject --lease L --addr ADDR`, answer: `{"ok":true}`,
			want: call{method: "POST", path: "/v1/intents/I/nack", body: `{"lease_id":"L","reject":true}`},
		},
		{
			rule: "extend", args: `extend I --lease L --lease-seconds 60 --addr ADDR`, answer: `{"ok":true}`,
			want: call{method: "POST", path: "/v1/intents/I/extend", body: `{"lease_id":"L","lease_seconds":60}`},
		},
		{
			rule: "peers", args: `peers --admin ADDR`,
			answer: `{"ok":true,"peers":[{"address":"h:1","journal_id":"J","epoch":2,"state":"up","breaker":"closed","agents":["a","b"],"last_error":"","held":3,"credit":{"a":4}}]}`,
			want:   call{method: "GET", path: "/v1/admin/peers"},
			stdout: []string{`h:1      J        2      up     closed   3     {"a":4}  a b`},
		},
		{
			rule: "agents", args: `agents --admin ADDR`, answer: `{"ok":true,"agents":[{"agent":"agent://a/b/c","served":"configured","binding":"http","url":"http://127.0.0.1:1/x","set":true,"door":{"reason":"unreachable","next_probe":"T"}}]}`,
			want:   call{method: "GET", path: "/v1/admin/agents"},
			stdout: []string{"agent://a/b/c  http         configured, set  unreachable  T           http://127.0.0.1:1/x"},
		},
		{
			rule: "agents set", args: `agents set a/b/c http:http://127.0.0.1:1/x --admin ADDR`, answer: `{"ok":true,"agents":[]}`,
			want: call{method: "POST", path: "/v1/admin/agents/set", body: `{"agent":"agent://a/b/c","binding":"http:http://127.0.0.1:1/x"}`},
		},
		{
			rule: "agents set: as configured", args: `agents set a/b/c configured --admin ADDR`, answer: `{"ok":true,"agents":[]}`,
			want: call{method: "POST", path: "/v1/admin/agents/set", body: `{"agent":"agent://a/b/c","binding":""}`},
		},
		{
			rule: "secret list", args: `secret list --admin ADDR`, answer: `{"ok":true,"secrets":[{"agent":"agent://a/b/c","fingerprint":"0a1b2c3d","state":"current","made_at":"T","path":"/p"}]}`,
			want:   call{method: "GET", path: "/v1/admin/secrets"},
			stdout: []string{"AGENT          FINGERPRINT  STATE ", "agent://a/b/c  0a1b2c3d     current  T "},
		},
		{
			rule: "secret rotate", args: `secret rotate a/b/c --overlap 2h --admin ADDR`, answer: `{"ok":true,"secrets":[]}`,
			want: call{method: "POST", path: "/v1/admin/secrets/rotate", body: `{"agent":"agent://a/b/c","overlap_seconds":7200,"prepare":false}`},
		},
		{
			rule: "peers forget", args: `peers forget J/1 --admin ADDR`, answer: `{"ok":true}`,
			want: call{method: "POST", path: "/v1/admin/peers/J%2F1/forget"}, stdout: []string{"J/1 forgotten\n"},
		},
		{
			rule: "peers with policy", args: `peers --admin ADDR`,
			answer: `{"ok":true,"peers":[{"address":"h:1","state":"open","breaker":"closed","agents":["b"],"credit":{"b":3},"serves":[{"agent":"b","health":"draining","zone":"z","priority":1,"subset":"canary","policy":{"max_requests":3}},{"agent":"plain","health":"healthy","priority":0,"policy":{}}]}]}`,
			want:   call{method: "GET", path: "/v1/admin/peers"},
			stdout: []string{"ADDRESS  AGENT  HEALTH    ZONE  PRIORITY  SUBSET  POLICY", "h:1      b      draining  z     1         canary  {\"max_requests\":3}"},
		},
		{
			rule: "breaker", args: `breaker --admin ADDR`,
			answer: `{"ok":true,"peers":[{"address":"h:1","breaker":"open","breaker_forced":true,"breaker_opens":{"after":3,"interval":"1m50s","least":"1s","most":"1m0s"},"last_error":"refused"}]}`,
			want:   call{method: "GET", path: "/v1/admin/peers"},
			stdout: []string{"h:1      open     when an operator closes it  3            1m50s   1s - 1m0s  refused"},
		},
		{
			rule: "breaker open", args: `breaker open h:1 --admin ADDR`, answer: `{"ok":true,"address":"h:1","breaker":"open"}`,
			want: call{method: "POST", path: "/v1/admin/breakers/open", body: `{"address":"h:1"}`}, stdout: []string{"h:1 open\n"},
		},
		{
			rule: "breaker close", args: `breaker close h:1 --admin ADDR`, answer: `{"ok":true,"address":"h:1","breaker":"closed"}`,
			want: call{method: "POST", path: "/v1/admin/breakers/close", body: `{"address":"h:1"}`}, stdout: []string{"h:1 closed\n"},
		},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			s := newSidecarDouble(t, answer{status: 200, body: row.answer})
			got := pannier(t, row.stdin, strings.Fields(strings.NewReplacer("ADDR", s.addr, "FILE", file).Replace(row.args))...)
			if got.exit != 0 {
				t.Fatalf("exit %d, stderr %q", got.exit, got.stderr)
			}
			calls := s.calls()
			if len(calls) != 1 {
				t.Fatalf("%d calls, want 1: %+v", len(calls), calls)
			}
			asked := calls[0]
			if asked.method != row.want.method || asked.path != row.want.path || asked.query != row.want.query || asked.body != row.want.body {
				t.Errorf("asked\n%s %s ? %s\n%s\nwant\n%s %s ? %s\n%s", asked.method, asked.path, asked.query, asked.body,
					row.want.method, row.want.path, row.want.query, row.want.body)
			}
			for _, want := range row.stdout {
				if !strings.Contains(got.stdout, want) {
					t.Errorf("stdout is\n%s\nand does not contain\n%s", got.stdout, want)
				}
			}
		})
	}
}

func TestKeysGoIntoHeaders(t *testing.T) {
	t.Parallel()
	s := newSidecarDouble(t, answer{status: 200, body: `{"intent_id":"I"}`})
	pannier(t, "", "send", "--to", "b", "--key", "secret", "--idempotency-key", "once", "--addr", s.addr)
	header := s.calls()[0].header
	for name, want := range map[string]string{"X-Api-Key": "secret", "Idempotency-Key": "once", "Content-Type": "application/json"} {
		if got := header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestUsageErrorsAskNothing(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, args, want string }{
		{"send: no receiver", `send {}`, "--to AGENT"},
		{"send: two types", `send a.v1 --type b.v1 --to b`, "type is given twice"},
		{"send: two payloads", `send {} --data {} --to b`, "one payload, got 2"},
		{"send: a payload that is not JSON", `send {a:1} --to b`, "not JSON"},
		{"send: a word that is nothing", `send Order! --to b`, "neither a type"},
		{"send: no such file", `send ./missing.json --to b`, "cannot read the payload"},
		{"send: a bad time", `send {} --to b --deadline soon`, "--deadline soon"},
		{"send: a bad wait", `send {} --to b --wait=soon`, "not a duration"},
		{"get: no id", `get`, "1 argument, got 0"},
		{"get: two ids", `get I J`, "1 argument, got 2"},
		{"get: an unknown format", `get I -o yaml`, "-o yaml"},
		{"wait: no id", `wait`, "at least one ID"},
		{"list: an argument", `list I`, "0 arguments, got 1"},
		{"ack: no lease", `ack I`, "--lease LEASE"},
		{"ack: a result that is not JSON", `ack I --lease L --result done`, "--result is not JSON"},
		{"poll: a bad number", `poll b --max many`, "many"},
		{"verify: no journal", `verify`, "the DIR of a journal"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			s := newSidecarDouble(t, answer{status: 500})
			args := strings.Fields(row.args)
			if args[0] != "verify" {
				args = append(args, "--addr", s.addr)
			}
			got := pannier(t, "", args...)
			if got.exit != exitUsage || got.stdout != "" || !strings.Contains(got.stderr, row.want) {
				t.Errorf("exit %d, stdout %q, stderr %q; want %d, nothing, and %q", got.exit, got.stdout, got.stderr, exitUsage, row.want)
			}
			if calls := s.calls(); len(calls) > 0 {
				t.Errorf("asked %+v, want nothing", calls)
			}
		})
	}
}

func TestTextFromElsewhereCannotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	s := newSidecarDouble(t, answer{status: 200, body: "{\"intents\":[{\"intent_id\":\"I\\u001b[2J\\n\",\"status\":\"A\\tB\"}]}"})
	got := pannier(t, "", "list", "--addr", s.addr)
	if strings.ContainsAny(got.stdout, "\x1b\t") || strings.Count(got.stdout, "\n") != 2 {
		t.Errorf("stdout is %q", got.stdout)
	}
}
