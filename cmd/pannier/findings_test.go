package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// well is what the admin listener of a sidecar answers with which nothing is wrong, by path.
var well = map[string]string{
	"/v1/admin/status": `{"ok":true,"ready":true,"listeners":{"api":"127.0.0.1:7400","peer":"127.0.0.1:7401","admin":"127.0.0.1:7402"},
		"checks":[{"name":"journal","ok":true},{"name":"listeners","ok":true},{"name":"durable","ok":true},{"name":"discovery","ok":false,"advice":true}],
		"journal":{"id":"J","epoch":1,"durable":true,"bytes":3145728,"syncs":{"of":512,"p50_ms":1.25,"p99_ms":9}},
		"backlogs":[{"place":"due","count":1,"later":2,"oldest":"OLD"},{"place":"held","count":0},{"place":"open","count":3}],
		"limits":[{"name":"accept","used":1,"most":2}]}`,
	"/v1/admin/agents":           `{"ok":true,"agents":[{"agent":"agent://a/b/c","binding":"poll","readers":1,"unsettled":2,"oldest":"OLD","door":{"open":true,"reason":"open"}}]}`,
	"/v1/admin/destinations":     `{"ok":true,"total":1,"destinations":[{"agent":"agent://a/b/d","waiting":1,"later":2,"in_flight":1,"oldest":"OLD","why":[]}]}`,
	"/v1/admin/peers":            `{"ok":true,"peers":[{"address":"h:2","state":"open","breaker":"closed"}]}`,
	"/v1/admin/xds":              `{"ok":true,"configured":false}`,
	"/v1/admin/secrets":          `{"ok":true,"secrets":[]}`,
	deadPath + "?redriven=false": `{"ok":true,"dead_letters":[]}`,
	deadPath + "?waiting=true":   `{"ok":true,"dead_letters":[]}`,
}

// lacking is an answer that there is none: the sidecar is older than the page.
const lacking = "404"

const metricsPage = `# HELP pannier_intent_submitted_total Some.
# TYPE pannier_intent_submitted_total counter
pannier_intent_submitted_total N
pannier_intent_finished_total{outcome="completed"} N
pannier_intent_finished_total{outcome="failed"} 0
pannier_intent_delivery_attempts_total{agent="agent://a/b/c",error_type="",mode="poll",outcome="answered"} N
pannier_intent_delivery_attempts_total{agent="agent://a/b/c",error_type="say \"no\", or",mode="http",outcome="failed"} N 1395066363000
pannier_intent_offers_total{outcome="held",peer="h:2"} N
pannier_intent_offers_total{outcome="refused",peer="h:2"} N
`

// operators is the admin listener of a sidecar: it answers as one with which all is well, but for
// some paths. OLD in an answer is five minutes ago.
func operators(t *testing.T, but map[string]string) string {
	t.Helper()
	var scrapes atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if but[path] == lacking {
			http.Error(w, `{"detail":"no such page","error":{"code":"not_found"}}`, http.StatusNotFound)
			return
		}
		if path == "/metrics" { // a thousand more each time
			fmt.Fprint(w, strings.ReplaceAll(metricsPage, "N", strconv.FormatInt(1000*scrapes.Add(1), 10)))
			return
		}
		for _, key := range []string{"redriven", "waiting"} {
			if value := r.URL.Query().Get(key); value != "" {
				path += "?" + key + "=" + value
			}
		}
		body, ok := but[path]
		if !ok {
			body, ok = well[path]
		}
		if !ok {
			t.Errorf("asked for %s", path)
		}
		fmt.Fprint(w, strings.ReplaceAll(body, "OLD", time.Now().Add(-5*time.Minute).Format(time.RFC3339Nano)))
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	addr := operators(t, nil)
	got := pannier(t, "", "check", "--admin", addr)
	want := `sidecar
  √  listens

journal
  √  takes writes
  √  is on a volume that outlives the host
  √  is on a quick disk: p50 1.2 ms, p99 9.0 ms, of the last 512 writes

receivers
  √  agent://a/b/c: 1 reader

destinations
  √  agent://a/b/d: 1 intent due, being offered

peers
  √  h:2: open

dead letters
  √  dead letters without a successor: none
  √  out of attempts, waiting for an operator: none

all is well
`
	if got.exit != 0 || got.stdout != want || got.stderr != "" {
		t.Errorf("exit %d, stderr %q, stdout\n%s", got.exit, got.stderr, got.stdout)
	}
	got = pannier(t, "", "status", "--admin", addr)
	want = `√  all is well with the sidecar at ` + addr + `

listens    api 127.0.0.1:7400  peer 127.0.0.1:7401  admin 127.0.0.1:7402
journal    J  epoch 1  3 MiB
syncs      p50 1.2 ms, p99 9.0 ms, of the last 512 writes
intents    1 due (5 min), 2 later, 0 held elsewhere
discovery  a peers file, or none

AGENT HERE     RECEIVES BY  DOOR  READERS  UNSETTLED  OLDEST  URL
agent://a/b/c  poll         open  1        2          5 min   

SENT TO        DUE  OFFERED  LATER  OLDEST  WAITS FOR
agent://a/b/d  1    1        2      5 min   

PEER  STATE  BREAKER  HELD  AGENTS  LAST ERROR
h:2   open   closed   0             
`
	if got.exit != 0 || got.stdout != want || got.stderr != "" {
		t.Errorf("exit %d, stderr %q, stdout\n%s", got.exit, got.stderr, got.stdout)
	}
}

// Each thing that is wrong has its line and says what to do. Only what keeps intents from being
// delivered makes the exit code of check 1; all that is news, that of status.
func TestFindings(t *testing.T) {
	t.Parallel()
	const letter = `{"ok":true,"dead_letters":[{"intent_id":"I"}]}`
	status := func(checks, more string) map[string]string {
		return map[string]string{"/v1/admin/status": `{"ok":true,"checks":[` + checks + `]` + more + `}`}
	}
	for _, row := range []struct {
		name          string
		but           map[string]string
		check, status int
		want          []string
	}{
		{"a failed journal", status(`{"name":"journal","ok":false,"detail":"EIO"}`, ""), 1, 1, []string{"×  takes writes: EIO\n       the sidecar is about to end"}},
		{"a ram disk is no news", status(`{"name":"durable","ok":false,"advice":true,"detail":"a ram disk"}`, ""), 0, 0, []string{"‼  is on a volume that outlives the host: a ram disk\n       give --journal"}},
		{"a wrong config file", status(`{"name":"config","ok":false,"advice":true,"detail":"line 3"}`, ""), 0, 1, []string{"‼  config file: line 3\n       \"pannier config validate"}},
		{"a check nobody here knows", status(`{"name":"moon","ok":false,"detail":"full"}`, ""), 1, 1, []string{"×  moon: full\n       read the log"}},
		{"a slow disk", status("", `,"journal":{"syncs":{"of":9,"p50_ms":150,"p99_ms":900}}`), 0, 1, []string{"‼  is on a quick disk: p50 150.0 ms"}},
		{"nearly full", status("", `,"limits":[{"name":"addresses","used":80,"most":100}]`), 0, 1, []string{"‼  limit addresses: 80 of 100 are taken\n       at the limit"}},
		{"a history at its budget is no news", status("", `,"limits":[{"name":"history_bytes","used":101,"most":100}]`), 0, 0, nil},
		{"another version", status("", `,"version":"v9"`), 0, 0, []string{"‼  version: v9, and this command is "}},
		{"a door shut with nothing behind it", map[string]string{"/v1/admin/agents": `{"agents":[{"agent":"a","door":{"reason":"no_reader"}}]}`}, 0, 0, []string{"‼  a: No app has asked"}},
		{"a door that tripped", map[string]string{"/v1/admin/agents": `{"agents":[{"agent":"a","door":{"reason":"failing"}}]}`}, 0, 1, []string{"‼  a: The app has failed several"}},
		{"a door shut with something behind it", map[string]string{"/v1/admin/agents": `{"agents":[{"agent":"a","unsettled":3,"oldest":"OLD","door":{"reason":"no_reader"}}]}`}, 1, 1,
			[]string{"×  a: 3 intents here, the oldest for 5 min. No app has asked", "\n       See whether the app runs"}},
		{"nobody serves it", map[string]string{"/v1/admin/destinations": `{"destinations":[{"agent":"a","waiting":2,"oldest":"OLD","why":[{"code":"no_endpoint","text":"Nobody.","peer":"h:1"}]}]}`}, 1, 1,
			[]string{"×  a: 2 intents due, the oldest for 5 min. Nobody. (h:1)\n       Start a sidecar with --agent"}},
		{"a moment is no finding", map[string]string{"/v1/admin/destinations": `{"destinations":[{"agent":"a","waiting":2,"oldest":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `","why":[{"code":"connecting","text":"Wait."}]}]}`}, 0, 0, nil},
		{"a peer down", map[string]string{"/v1/admin/peers": `{"peers":[{"address":"h:1","state":"down","last_error":"refused","held":2}]}`}, 1, 1, []string{"×  h:1: down: refused, holding 2 intents\n       see whether"}},
		{"a clock ahead", map[string]string{"/v1/admin/peers": `{"peers":[{"address":"h:1","state":"open","clock_ahead_ms":90000}]}`}, 0, 0, []string{"‼  h:1: open, and its clock is 90 s ahead of this sidecar's\n       set both clocks"}},
		{"a clock behind", map[string]string{"/v1/admin/peers": `{"peers":[{"address":"h:1","state":"open","clock_ahead_ms":-600000}]}`}, 0, 0, []string{"‼  h:1: open, and its clock is 10 min behind"}},
		{"a clock nearly right", map[string]string{"/v1/admin/peers": `{"peers":[{"address":"h:1","state":"open","clock_ahead_ms":-4000}]}`}, 0, 0, []string{"√  h:1: open"}},
		{"a breaker opened by hand", map[string]string{"/v1/admin/peers": `{"peers":[{"address":"h:1","state":"open","breaker_forced":true}]}`}, 0, 0, []string{"‼  h:1: an operator has opened"}},
		{"a secret of this year", map[string]string{"/v1/admin/secrets": `{"secrets":[{"agent":"a","state":"current","made_at":"OLD"},{"agent":"a","state":"retiring","made_at":"2001-01-01T00:00:00Z"}]}`}, 0, 0, []string{"√  a: made 5 min ago"}},
		{"a secret of old", map[string]string{"/v1/admin/secrets": `{"secrets":[{"agent":"a","state":"current","made_at":"2001-01-01T00:00:00Z"}]}`}, 0, 0, []string{"‼  a: made ", "pannier secret rotate a"}},
		{"dead letters", map[string]string{deadPath + "?redriven=false": letter}, 0, 1, []string{"‼  dead letters without a successor: 1 intent\n       \"pannier dlq list --open\""}},
		{"an operator is waited for", map[string]string{deadPath + "?waiting=true": letter}, 0, 1, []string{"‼  out of attempts, waiting for an operator: 1 intent\n       \"pannier dlq list --waiting\""}},
		{"discovery", map[string]string{"/v1/admin/xds": xdsBody}, 1, 1, []string{
			"‼  control plane 10.0.0.1:7410: waiting: connection refused\n       see whether it runs", "‼  what is known: stale: what was known ",
			"×  resource cluster billing.prod.acme: refused: type: STRICT_DNS is not used here\n       mend it",
			"‼  agent orders: asked for, and", "‼  agent cart: nobody serves it", "‼  agent billing: paused",
		}},
		{"an error in place of a resource", map[string]string{"/v1/admin/xds": `{"configured":true,"servers":[],"resources":[{"type":"cluster","name":"c","state":"RECEIVED_ERROR","version":"1","error":"the control plane: no"},{"type":"route","name":"r","state":"NACKED","error":"bad"}]}`}, 1, 1, []string{
			"×  resource cluster c: the control plane: no\n       mend it at the control plane; until then the last good one",
			"×  resource route r: refused: bad\n       mend it at the control plane; until then what goes there waits",
		}},
		{"not announced", map[string]string{"/v1/admin/xds": `{"configured":true,"servers":[{"address":"h:1","state":"connected","not_announced":"not for x"}]}`}, 1, 1, []string{
			"×  control plane h:1: connected, and does not announce this sidecar as it asks to be: not for x\n       others may not find it",
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			addr := operators(t, row.but)
			got := pannier(t, "", "check", "--admin", addr)
			if got.exit != row.check {
				t.Errorf("exit code %d, want %d\n%s", got.exit, row.check, got.stderr)
			}
			for _, want := range row.want {
				if !strings.Contains(got.stdout, want) {
					t.Errorf("no %q in\n%s", want, got.stdout)
				}
			}
			if strings.Contains(got.stdout, "agent mine") {
				t.Errorf("an agent served here is complained of:\n%s", got.stdout)
			}
			brief := pannier(t, "", "status", "--admin", addr)
			if brief.exit != row.status || (brief.exit == 0) != strings.Contains(brief.stdout, "all is well") {
				t.Errorf("exit code of status %d, want %d\n%s%s", brief.exit, row.status, brief.stdout, brief.stderr)
			}
		})
	}
}

// A sidecar that is older than the command lacks pages, parameters and members. What it
// has is shown, and nothing is made up of what it has not.
func TestOlderSidecar(t *testing.T) {
	t.Parallel()
	pages := []string{"/v1/admin/status", "/v1/admin/agents", "/v1/admin/destinations", "/v1/admin/peers", "/v1/admin/xds", deadPath + "?redriven=false", deadPath + "?waiting=true", "/v1/admin/secrets"}
	lies := map[string][]string{"/v1/admin/status": {"ephemeral", "epoch 0", "api "}, "/v1/admin/xds": {"peers file, or none"}}
	for _, page := range append(pages, "/metrics") {
		for _, but := range []string{lacking, `{}`, `[]`} {
			if page == "/metrics" && but != lacking {
				continue
			}
			addr := operators(t, map[string]string{page: but})
			check := pannier(t, "", "check", "--admin", addr)
			status := pannier(t, "", "status", "--admin", addr)
			top := pannier(t, "", "top", "--once", "--interval", "100ms", "--admin", addr)
			if check.exit+status.exit+top.exit != 0 {
				t.Errorf("%s is %s: exit %d, %d and %d\n%s%s%s", page, but, check.exit, status.exit, top.exit, check.stderr, status.stderr, top.stderr)
			}
			if said := strings.Contains(check.stdout, "‼  says nothing of its "); said != (but != `{}` && page != "/metrics") {
				t.Errorf("%s is %s: check says\n%s", page, but, check.stdout)
			}
			for _, lie := range lies[page] {
				if but != `{}` && strings.Contains(status.stdout, lie) {
					t.Errorf("%s is %s: status makes up %q:\n%s", page, but, lie, status.stdout)
				}
			}
			if page == "/metrics" && !strings.Contains(top.stdout, "no rates") {
				t.Errorf("without metrics top shows\n%s", top.stdout)
			}
		}
	}

	all := map[string]string{}
	for _, page := range pages {
		all[page] = lacking
	}
	addr := operators(t, all)
	for _, verb := range []string{"check", "status"} {
		if got := pannier(t, "", verb, "--admin", addr); got.exit != exitNotFound || !strings.Contains(got.stderr, "is not the listener") {
			t.Errorf("%s of what is no sidecar: exit %d, %s%s", verb, got.exit, got.stdout, got.stderr)
		}
	}
}

func TestFindingsAsJSON(t *testing.T) {
	t.Parallel()
	addr := operators(t, map[string]string{"/v1/admin/peers": `{"peers":[{"address":"h:1","state":"down"}]}`})
	var check struct {
		OK     bool
		Checks []finding
	}
	got := pannier(t, "", "check", "--admin", addr, "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &check); err != nil || got.exit != 1 || check.OK || len(check.Checks) < 5 || check.Checks[0].Group != "sidecar" {
		t.Errorf("exit %d, %v: %s", got.exit, err, got.stdout)
	}
	lines := pannier(t, "", "check", "--admin", addr, "-o", "ndjson")
	if n := strings.Count(lines.stdout, "\n"); n != len(check.Checks) || !strings.HasPrefix(lines.stdout, `{"group":"sidecar"`) {
		t.Errorf("%d lines, want %d: %s", n, len(check.Checks), lines.stdout)
	}
	var status struct {
		OK        bool
		Attention []finding
		Status    statusAnswer
		Peers     peersAnswer
	}
	got = pannier(t, "", "status", "--admin", addr, "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &status); err != nil || got.exit != 1 || status.OK || len(status.Attention) != 1 || status.Status.Journal.ID != "J" || len(status.Peers.Peers) != 1 {
		t.Errorf("exit %d, %v: %s", got.exit, err, got.stdout)
	}
}

// A check that waits looks again until nothing is wrong.
func TestCheckWaits(t *testing.T) {
	t.Parallel()
	down := answer{status: 200, body: `{"ok":true,"peers":[{"address":"h:1","state":"down"}]}`}
	up := answer{status: 200, body: `{"ok":true}`}
	s := newSidecarDouble(t, answer{status: 503}, up, up, up, down, up, up, up, up)
	if got := pannier(t, "", "check", "--wait", "1m", "--admin", s.addr); got.exit != 0 {
		t.Errorf("exit %d: %s%s", got.exit, got.stdout, got.stderr)
	}
	if n := len(s.calls()); n != 17 {
		t.Errorf("%d calls, want one refused, and two looks", n)
	}
}
