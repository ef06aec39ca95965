package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"pannier/proxy"
)

// chirp is a canary: it is in all that a sender says of an intent. None of it may be in a label.
const chirp = "c4n4ry"

// tell posts to the app API, and returns the answer.
func (s *sidecar) tell(t *testing.T, path, body string) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+s.API+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode/100 != 2 {
		t.Fatalf("POST %s: %d, %v: %s", path, a.StatusCode, err, text)
	}
	return string(text)
}

// polled is an intent as a poll gives it.
type polled struct {
	ID    string `json:"intent_id"`
	Lease string `json:"lease_id"`
}

// poll takes one intent of an agent.
func (s *sidecar) poll(t *testing.T, agent string) polled {
	t.Helper()
	a, err := http.Get("http://" + s.API + "/v1/agents/" + url.PathEscape(agent) + "/intents?wait_seconds=30")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	var answer struct{ Intents []polled }
	if err := json.NewDecoder(a.Body).Decode(&answer); err != nil || len(answer.Intents) != 1 {
		t.Fatalf("poll: %d, %v, %+v", a.StatusCode, err, answer)
	}
	return answer.Intents[0]
}

// scrape asks for the page, in the format that the header wants.
func (s *sidecar) scrape(t *testing.T, accept string) (contentType, page string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+s.Admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("metrics: %d, %v: %s", a.StatusCode, err, text)
	}
	return a.Header.Get("Content-Type"), string(text)
}

// families parses a page.
func families(t *testing.T, page string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatalf("the page cannot be parsed: %v\n%s", err, page)
	}
	return all
}

// series counts those of ours.
func series(all map[string]*dto.MetricFamily) (n int) {
	for name, f := range all {
		if strings.HasPrefix(name, "pannier_") {
			n += len(f.Metric)
		}
	}
	return n
}

// lint is what promtool check metrics does; where promtool is, as in CI, it is asked, too.
func lint(t *testing.T, page string) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "pannier_") {
			t.Errorf("promlint: %s: %s", p.Metric, p.Text)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Error("no promtool (e2e/run --install gets it)")
		}
		return
	}
	c := exec.Command(promtool, "check", "metrics")
	c.Stdin = strings.NewReader(page)
	if out, err := c.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool check metrics: %v: %s", err, out)
	}
}

func want(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(page, "\n"+l+"\n") {
			name, _, _ := strings.Cut(l, "{")
			t.Errorf("no line %s; there is:", l)
			for have := range strings.Lines(page) {
				if strings.HasPrefix(have, strings.Fields(name)[0]) {
					t.Log(strings.TrimSpace(have))
				}
			}
		}
	}
}

// The life of an intent is on the page when the app has its answer, and nothing is on
// it that the sender or the app has said.
func TestMetrics(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Agents = []proxy.AgentOption{{Address: billing}}
	s := run(t, o)
	for range 2 {
		r, err := http.NewRequest(http.MethodPost, "http://"+s.API+"/v1/intents", strings.NewReader(fmt.Sprintf(
			`{"intent_type": "%[1]s.v1", "from_agent": "agent://%[1]s/prod/orders", "to_agent": %[2]q, "payload": {"%[1]s": "%[1]s"}}`, chirp, billing)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", chirp)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
	}
	got := s.poll(t, billing)
	s.tell(t, "/v1/intents/"+got.ID+"/nack", fmt.Sprintf(`{"lease_id": %q, "delay_seconds": 0, "reason": %q}`, got.Lease, chirp))
	got = s.poll(t, billing)
	s.tell(t, "/v1/intents/"+got.ID+"/ack", fmt.Sprintf(`{"lease_id": %q, "result": {"x": %q}}`, got.Lease, chirp))

	_, page := s.scrape(t, "")
	lint(t, page)
	families(t, page)
	if strings.Contains(strings.ToLower(page), chirp) || strings.Contains(page, got.ID) {
		t.Errorf("what was said is on the page:\n%s", page)
	}
	want(t, page,
		`pannier_intent_submitted_total 1`,
		`pannier_intent_idempotency_replays_total 1`,
		`pannier_intent_finished_total{outcome="completed"} 1`,
		`pannier_intent_finished_total{outcome="timed_out"} 0`,
		`pannier_intent_delivery_attempts_total{agent="agent://acme/prod/billing",error_type="",mode="poll",outcome="answered"} 1`,
		`pannier_intent_delivery_attempts_total{agent="agent://acme/prod/billing",error_type="nack",mode="poll",outcome="failed"} 1`,
		`pannier_intent_end_to_end_duration_seconds_count 1`,
		`pannier_intent_delivery_duration_seconds_count{mode="poll"} 2`,
		`pannier_intent_queue_depth{state="ready"} 0`,
		`pannier_intent_queue_depth{state="mailbox"} 0`,
		`pannier_intent_open 0`,
		`pannier_intent_door_state{agent="agent://acme/prod/billing",state="open"} 1`,
		`pannier_intent_journal_failed 0`,
		`pannier_ready 1`,
	)

	if strings.Contains(page, "\npannier_intent_journal_free_bytes 0\n") {
		t.Error("the volume has no byte free, and was written to")
	}

	kind, page := s.scrape(t, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
	if !strings.HasPrefix(kind, "application/openmetrics-text; version=1.0.0") || !strings.HasSuffix(page, "\n# EOF\n") {
		t.Errorf("OpenMetrics: %s, which ends with %q", kind, page[max(0, len(page)-20):])
	}
	want(t, page, `# TYPE pannier_intent_submitted counter`, `pannier_intent_submitted_total 1.0`)
}

// Senders name destinations as they like; a sidecar has no more series for that.
func TestMetricsOfManyDestinations(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Agents = []proxy.AgentOption{{Address: billing}}
	s := run(t, o)
	post := func(from, to int) {
		var b strings.Builder
		for i := from; i < to; i++ {
			if i > from {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"intent_type":"t%d.v1","from_agent":"agent://a/b/s%d","to_agent":"agent://acme/prod/d%d","payload":{}}`, i, i, i)
		}
		s.tell(t, "/v1/intents:batch", `{"intents":[`+b.String()+`]}`)
	}
	post(0, 1)
	_, page := s.scrape(t, "")
	before := series(families(t, page))
	for i := range 10 {
		post(1+1000*i, 1001+1000*i)
	}
	_, page = s.scrape(t, "")
	if after := series(families(t, page)); after != before {
		t.Errorf("%d series, and %d after 10,000 more destinations", before, after)
	}
	want(t, page, `pannier_intent_queue_depth{state="ready"} 10001`, `pannier_intent_delayed{code="other"} 9901`, `pannier_intent_open 10001`, `pannier_intent_submitted_total 10001`)
}
