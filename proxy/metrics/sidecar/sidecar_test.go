package sidecar_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
	"pannier/outbound"
	"pannier/proxy/api"
	"pannier/proxy/crowd"
	"pannier/proxy/metrics"
	"pannier/proxy/metrics/sidecar"
	"pannier/proxy/webhook"
	"pannier/proxy/xds"
)

const billing = "agent://acme/prod/billing"

// still is a journal in which nothing happens.
type still struct{ oldest time.Time }

func (still) AgentName(no journal.Agent) string { return fmt.Sprintf("agent://a/b/c%d", no) }
func (s still) Backlogs() []journal.Backlog {
	return []journal.Backlog{{Name: journal.BacklogDue, Count: 3, Later: 2, Oldest: s.oldest}, {Name: journal.BacklogDead, Count: 1}, {Name: journal.BacklogOpen, Count: 8}}
}
func (still) Queues() []journal.Queue {
	return []journal.Queue{{Agent: 1, Backlog: journal.Backlog{Name: journal.BacklogMail, Count: 6}}}
}
func (still) Uses() []journal.Use { return []journal.Use{{Name: "accept", Used: 1, Most: 2}} }
func (still) Size() int64         { return 7 }
func (still) Stats() journal.Stats {
	return journal.Stats{Durable: true, Volume: journal.Volume{Free: 11, Low: true, Ballast: 12}, Files: journal.FileRoom{Left: 13, Spare: 14}, Stalled: 7 * time.Second, Live: map[string]uint64{"report": 4}}
}
func (still) Err() error { return nil }

// setup is a sidecar's page over these mailboxes and peers.
func setup(t testing.TB, boxes []inbound.AgentFigures, peers []outbound.PeerFigures) *sidecar.Sidecar {
	t.Helper()
	s := sidecar.New("v1", []string{billing}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	s.Watch(sidecar.Source{
		Journal: still{time.Now().Add(-time.Minute)}, Ready: func() bool { return true },
		Mailbox: func() ([]inbound.AgentFigures, int) { return boxes, 10_000 },
		Homes:   func() inbound.ServerFigures { return inbound.ServerFigures{Homes: 2} },
		Peers:   func() outbound.Figures { return outbound.Figures{Peers: peers} },
		Delays:  func() map[state.Cause]int { return map[state.Cause]int{state.CauseBreakerOpen: 4, state.NoCause: 9} },
		Service: sidecar.Service{Name: "pannier", Version: "v1", Instance: "j"},
		Rooms: func() []crowd.Use {
			return []crowd.Use{{Name: "api", Open: 7, Idle: 2, Most: 8, Away: crowd.Away{Count: 3}}}
		},
		App:     func() api.Figures { return api.Figures{Streams: 3} },
		Secrets: func() map[string]time.Time { return map[string]time.Time{billing: time.Now()} },
		Config:  func() (bool, time.Time) { return false, time.Unix(17, 0) },
		XDS: func() xds.Figures {
			return xds.Figures{Live: true, Confirmed: time.Now(), Resources: map[xds.Counted]int{{Type: "cluster", State: "acked"}: 5}}
		},
	})
	return s
}

func page(s *sidecar.Sidecar) string {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// ours counts the series that are not of the process.
func ours(page string) (n int) {
	for l := range strings.Lines(page) {
		if strings.HasPrefix(l, "pannier_") {
			n++
		}
	}
	return n
}

func want(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(page, "\n"+l+"\n") {
			t.Errorf("no line %s", l)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

// Agents and peers that are too many are one, and what they have is added up. Who is
// configured always has a name.
func TestManyAgentsAndPeers(t *testing.T) {
	t.Parallel()
	boxes := []inbound.AgentFigures{{Agent: billing, Configured: true, Unsettled: 5}}
	var peers []outbound.PeerFigures
	for i := range 10_000 {
		boxes = append(boxes, inbound.AgentFigures{Agent: fmt.Sprintf("agent://a/b/%05d", i), Door: inbound.NoReader, Unsettled: 1})
		peers = append(peers, outbound.PeerFigures{Address: fmt.Sprintf("10.0.%d.%d:7401", i/256, i%256), Breaker: "open", Held: 2})
	}
	s := setup(t, boxes, peers)
	told := s.Told()
	y := journal.Tally{}
	for i := range 10_000 {
		told.Offers(peers[i].Address, outbound.OutcomeHeld, 1)
		told.Breaker(peers[i].Address, "closed", "open")
		y.Attempts = append(y.Attempts, journal.AttemptTally{Agent: journal.Agent(i + 1), Way: journal.ByPoll, Move: state.GiveFinal})
	}
	s.Counted(&y)
	text := page(s)
	if n := ours(text); n > 5000 {
		t.Errorf("%d series", n)
	}
	want(t, text,
		`pannier_intent_mailbox_unsettled{agent="agent://acme/prod/billing"} 5`,
		`pannier_intent_mailbox_unsettled{agent="other"} 10000`,
		`pannier_intent_door_state{agent="other",state="no_reader"} 10000`,
		`pannier_peer_held{peer="other"} 19600`,
		`pannier_intent_breaker_state{peer="10.0.0.1:7401",state="open"} 1`,
		`pannier_intent_breaker_state{peer="other",state="open"} 9800`,
		`pannier_intent_breaker_transitions_total{from="closed",peer="other",to="open"} 9800`,
		`pannier_intent_offers_total{outcome="held",peer="other"} 9800`,
		`pannier_intent_delivery_attempts_total{agent="other",error_type="",mode="poll",outcome="answered"} 9901`,
		`pannier_intent_queue_depth{state="ready"} 3`,
		`pannier_intent_queue_depth{state="scheduled"} 2`,
		`pannier_intent_stream_clients 3`,
		`pannier_intent_delayed{code="no_reader"} 6`,
		`pannier_intent_delayed{code="breaker_open"} 4`,
		`pannier_intent_delayed{code="paused"} 0`,
		`pannier_intent_delayed{code="other"} 9`,
		`pannier_intent_journal_free_bytes 11`,
		`pannier_intent_journal_low 1`,
		`pannier_intent_journal_ballast_bytes 12`,
		`pannier_open_files_left 13`,
		`pannier_open_files_spare 14`,
		`pannier_limit_used{limit="api_connections"} 5`,
		`pannier_limit_max{limit="api_connections"} 8`,
		`pannier_connections_turned_away_total{listener="api"} 3`,
		`pannier_intent_journal_stalled_seconds 7`,
		`target_info{service_instance_id="j",service_name="pannier",service_version="v1"} 1`,
		`messaging_client_sent_messages_total{error_type="",messaging_operation_name="send",messaging_system="intent"} 10000`,
		`messaging_client_consumed_messages_total{error_type="",messaging_destination_name="other",messaging_operation_name="receive",messaging_system="intent"} 9901`,
		`pannier_xds_connected 1`,
		`pannier_xds_resources{state="acked",type="cluster"} 5`,
		`pannier_config_last_reload_successful 0`,
		`pannier_config_last_reload_success_timestamp_seconds 17`,
	)
}

// Requests are told apart by what is bounded, whoever asks and wherever webhooks go.
func TestManyRequests(t *testing.T) {
	t.Parallel()
	s := setup(t, nil, nil)
	for i := range 10_000 {
		s.Served(api.Served{Method: fmt.Sprintf("M%d", i), Status: 404})
		s.Pushed(webhook.Request{Host: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256), Status: 500})
	}
	s.Pushed(webhook.Request{Host: "10.0.0.1:80", Failed: true})
	for code := 560; code < 600; code++ { // none has a name
		s.Pushed(webhook.Request{Host: "10.0.0.0:80", Status: code})
	}
	text := page(s)
	want(t, text,
		`http_server_request_duration_seconds_count{http_request_method="_OTHER",http_response_status_code="404",http_route=""} 10000`,
		`http_client_request_duration_seconds_count{error_type="500",http_request_method="POST",http_response_status_code="500",server_address="10.0.0.1",server_port="80"} 1`,
		`http_client_request_duration_seconds_count{error_type="_OTHER",http_request_method="POST",http_response_status_code="",server_address="10.0.0.1",server_port="80"} 1`,
		`http_client_request_duration_seconds_count{error_type="500",http_request_method="POST",http_response_status_code="500",server_address="other",server_port=""} 9900`,
		`http_client_request_duration_seconds_count{error_type="500",http_request_method="POST",http_response_status_code="500",server_address="10.0.0.0",server_port="80"} 41`,
	)
}

// A duration of what is traced has the trace with it, in OpenMetrics.
func TestExemplars(t *testing.T) {
	t.Parallel()
	const sampled, unseen = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	s := setup(t, nil, nil)
	for _, of := range []string{sampled, unseen, ""} {
		s.Served(api.Served{Method: "POST", Route: "/v1/intents", Status: 200, Took: time.Second, Trace: of})
		s.Pushed(webhook.Request{Host: "127.0.0.1:80", Status: 200, Took: time.Second, Trace: of})
		s.Counted(&journal.Tally{
			Ended:    []journal.EndTally{{Status: state.Completed, Took: time.Second, Trace: of}},
			Attempts: []journal.AttemptTally{{Way: journal.ByPush, Move: state.GiveFinal, Took: time.Second, Timed: true, Trace: of}},
		})
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	s.ServeHTTP(w, r)
	found := map[string]bool{}
	for l := range strings.Lines(w.Body.String()) {
		name, _, _ := strings.Cut(l, "{")
		if strings.Contains(l, `trace_id="5bf`) {
			t.Errorf("an exemplar that nobody can look up: %s", l)
		}
		found[name] = found[name] || strings.Contains(l, `trace_id="4bf92f3577b34da6a3ce929d0e0e4736"`)
	}
	for _, name := range []string{"http_server_request_duration_seconds", "http_client_request_duration_seconds", "pannier_intent_end_to_end_duration_seconds", "pannier_intent_delivery_duration_seconds"} {
		if !found[name+"_bucket"] {
			t.Errorf("%s has no exemplar", name)
		}
	}
}

// What delays an intent has one code everywhere: each of the table has its series.
func TestEveryDelayIsCounted(t *testing.T) {
	t.Parallel()
	text := page(setup(t, nil, nil))
	for _, c := range state.Causes() {
		if !strings.Contains(text, "\npannier_intent_delayed{code=\""+c.String()+"\"} ") {
			t.Errorf("%s is not on the page", c)
		}
	}
}

// A hand-over is consumed once, however many steps it takes, and its time is that of
// processing; what an app asks of messages is told by its route.
func TestMessaging(t *testing.T) {
	t.Parallel()
	s := setup(t, nil, nil)
	s.Counted(&journal.Tally{Redriven: []state.Reason{state.ReasonTooLarge}, Attempts: []journal.AttemptTally{
		{Agent: 1, Way: journal.ByPoll, Move: state.Extend, Timed: true},
		{Agent: 1, Way: journal.ByPoll, Move: state.GiveFinal, Timed: true, Took: time.Second},
		{Agent: 1, Way: journal.ByPush, Move: state.FailTry, Reason: state.ReasonLapsed},
		{Agent: 1, Way: journal.ByStream, Move: state.Refuse, Timed: true},
		{Agent: 1, Way: journal.ByWord, Move: state.GiveFinal},
	}})
	s.Told().Offers("10.0.0.1:7401", outbound.OutcomeHeld, 5)
	s.Told().Offers("10.0.0.1:7401", outbound.OutcomeRefused, 2)
	s.Told().Offers("10.0.0.1:7401", outbound.OutcomeReleased, 3)
	s.Told().Answered(time.Second)
	s.Served(api.Served{Method: "POST", Route: "/v1/intents/{id}/ack", Status: 409})
	s.Served(api.Served{Method: "GET", Route: "/v1/agents/{agent}/intents", Status: 200})
	s.Served(api.Served{Method: "POST", Route: "/v1/intents", Status: 200})
	text := page(s)
	const consumed, sent, took, process = "messaging_client_consumed_messages_total", "messaging_client_sent_messages_total",
		"messaging_client_operation_duration_seconds_count", "messaging_process_duration_seconds_count"
	want(t, text,
		consumed+`{error_type="",messaging_destination_name="agent://a/b/c1",messaging_operation_name="receive",messaging_system="intent"} 1`,
		consumed+`{error_type="lease_lapsed",messaging_destination_name="agent://a/b/c1",messaging_operation_name="process",messaging_system="intent"} 1`,
		consumed+`{error_type="rejected",messaging_destination_name="agent://a/b/c1",messaging_operation_name="process",messaging_system="intent"} 1`,
		process+`{error_type="",messaging_operation_name="process",messaging_system="intent"} 1`,
		process+`{error_type="rejected",messaging_operation_name="process",messaging_system="intent"} 1`,
		sent+`{error_type="",messaging_operation_name="send",messaging_system="intent"} 5`,
		sent+`{error_type="refused",messaging_operation_name="send",messaging_system="intent"} 2`,
		took+`{error_type="",messaging_operation_name="send",messaging_operation_type="send",messaging_system="intent"} 1`,
		took+`{error_type="409",messaging_operation_name="ack",messaging_operation_type="settle",messaging_system="intent"} 1`,
		took+`{error_type="",messaging_operation_name="receive",messaging_operation_type="receive",messaging_system="intent"} 1`,
		`pannier_intent_dlq_redriven_total{reason="rejected"} 1`,
		`pannier_intent_dlq_redriven_total{reason="expired"} 0`,
	)
	for name, n := range map[string]int{consumed: 3, took: 3} {
		if got := strings.Count(text, "\n"+name+"{"); got != n {
			t.Errorf("%d series of %s, want %d", got, name, n)
		}
	}
}

// The table of the README is made of what is on the page.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	table := metrics.Process.Rows() + sidecar.Families.Rows()
	if !strings.Contains(string(readme), table) {
		t.Errorf("the table of metrics in the README is not:\n%s", table)
	}
}

// Every family is on the page, and nothing is on it that is no family.
func TestFamiliesAreComplete(t *testing.T) {
	t.Parallel()
	s := setup(t, []inbound.AgentFigures{{Agent: billing}}, []outbound.PeerFigures{{Address: "10.0.0.1:7401"}})
	s.Told().Offers("10.0.0.1:7401", outbound.OutcomeHeld, 1)
	s.Told().Breaker("10.0.0.1:7401", "closed", "open")
	s.Counted(&journal.Tally{Attempts: []journal.AttemptTally{{Way: journal.ByPoll, Move: state.GiveFinal, Timed: true}}})
	s.Served(api.Served{Method: "POST", Route: "/v1/intents", Status: 200})
	s.Pushed(webhook.Request{Host: "127.0.0.1:80"})
	text := page(s)
	for _, f := range sidecar.Families {
		if !strings.Contains(text, "# HELP "+f.Name+" ") {
			t.Errorf("%s is not on the page", f.Name)
		}
	}
	for l := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(l, "# TYPE pannier_"); ok {
			name = "pannier_" + strings.Fields(name)[0]
			found := name == "pannier_build_info"
			for _, f := range sidecar.Families {
				found = found || f.Name == name
			}
			if !found {
				t.Errorf("%s is no family", name)
			}
		}
	}
}

// BenchmarkCounted is what a batch of one intent's life costs the committer.
func BenchmarkCounted(b *testing.B) {
	s := setup(b, nil, nil)
	y := journal.Tally{
		Took: time.Millisecond, Operations: 4, Submitted: 1,
		Ended:    []journal.EndTally{{Status: state.Completed, Took: time.Second}},
		Attempts: []journal.AttemptTally{{Agent: 1, Way: journal.ByPoll, Move: state.GiveFinal, Took: time.Second, Timed: true}},
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Counted(&y)
	}
}

// How the disk is now is told by the last batches, however many there were before.
func TestSyncsAreTheLastOnes(t *testing.T) {
	t.Parallel()
	s := setup(t, nil, nil)
	if q := s.Syncs(); q != (sidecar.Quantiles{}) {
		t.Errorf("before any batch: %+v", q)
	}
	for range 1000 {
		s.Counted(&journal.Tally{Took: time.Hour})
	}
	for i := range 512 {
		s.Counted(&journal.Tally{Took: time.Duration(i+1) * time.Millisecond})
	}
	if q := s.Syncs(); q != (sidecar.Quantiles{Of: 512, P50: 256 * time.Millisecond, P99: 506 * time.Millisecond}) {
		t.Errorf("got %+v", q)
	}
}

// BenchmarkServed is what it costs a request to be counted.
func BenchmarkServed(b *testing.B) {
	s := setup(b, nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		s.Served(api.Served{Method: "POST", Route: "/v1/intents", Status: 200, Took: time.Millisecond})
	}
}
