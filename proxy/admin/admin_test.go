package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"pannier/journal"
	"pannier/outbound"
	"pannier/proxy/admin"
	"pannier/proxy/webhook"
	"pannier/proxy/xds"
)

// world is an admin listener over a sidecar whose state the test sets.
type world struct {
	handler   http.Handler
	health    admin.Health
	forgotten []journal.ID
	forget    error
	secrets   *webhook.Keyring
	agents    agents
	breakers  breakers
	journal   *journal.Journal
}

var (
	journalID = journal.ID{1, 2, 3}
	peerID    = journal.ID{9}
)

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{secrets: keyring(t), health: admin.Health{Started: true, Checks: []admin.Check{
		{Name: "journal", OK: true}, {Name: "running", OK: true}, {Name: "durable", Advice: true, Detail: "a ram disk"},
	}}}
	w.journal = openJournal(t)
	w.handler = admin.New(admin.Source{
		Version: "v1",
		Health:  func() admin.Health { return w.health },
		Stats: func() journal.Stats {
			return journal.Stats{Seq: 7, BatchSizes: 9, Boot: 2, Unclean: true, Identity: journal.Identity{Journal: journalID, Epoch: 3}, Live: map[string]uint64{"due": 4}}
		},
		Figures: func() admin.Figures {
			return admin.Figures{
				Listeners: admin.Listeners{API: "h:1", Peer: "h:2", Admin: "h:3"}, Bytes: 5, Syncs: admin.Syncs{Of: 2, P50: 1.5, P99: 9},
				Backlogs: []journal.Backlog{{Name: "due", Count: 4, Later: 1, Oldest: time.Unix(0, 0).UTC()}, {Name: "mail"}},
				Limits:   []journal.Use{{Name: "accept", Used: 1, Most: 2}},
			}
		},
		Peers: func() []outbound.PeerStatus { return nil },
		Due: func() ([]outbound.DestinationStatus, int) {
			return []outbound.DestinationStatus{{Agent: billing, Waiting: 4, Why: []outbound.Waits{{Code: "no_endpoint", Text: "Nobody."}}}}, 7
		},
		Forget: func(_ context.Context, id journal.ID) error {
			w.forgotten = append(w.forgotten, id)
			return w.forget
		},
		Breaker: &w.breakers,
		Pushed:  func() []string { return []string{billing} },
		Secrets: w.secrets,
		Agents:  &w.agents,

		DeadLetters: w.journal,
		Tally:       counting(t, w.journal),
		Metrics:     http.NotFoundHandler(),
	}, []string{"orders.svc"}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	return w
}

// counting returns a tally that runs until the test ends.
func counting(t *testing.T, j *journal.Journal) *admin.Tally {
	tally := admin.NewTally(j, func() uint64 { return j.Stats().Seq })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- tally.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("tally: %v", err)
		}
	})
	return tally
}

func (w *world) ask(method, path string, header ...string) *httptest.ResponseRecorder {
	return w.say(method, path, "", header...)
}

func (w *world) say(method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:7402"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	a := httptest.NewRecorder()
	w.handler.ServeHTTP(a, r)
	return a
}

func TestHealth(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		spoil  func(*admin.Health)
		path   string
		status int
		body   string
	}{
		{"the process answers whatever is wrong", func(h *admin.Health) { *h = admin.Health{} }, "/healthz", 200, `{"status":"ok","version":"v1"}`},
		{"ready, and an ephemeral volume does not change that", nil, "/readyz", 200, `{"status":"ready","version":"v1"}`},
		{"all checks when asked", nil, "/readyz?verbose", 200,
			`{"status":"ready","version":"v1","checks":[{"name":"journal","ok":true},{"name":"running","ok":true},{"name":"durable","ok":false,"detail":"a ram disk","advice":true}]}`},
		{"not ready says why unasked", func(h *admin.Health) { h.Checks[0] = admin.Check{Name: "journal", Detail: "disk gone"} }, "/readyz", 503,
			`{"status":"not ready","version":"v1","checks":[{"name":"journal","ok":false,"detail":"disk gone"}]}`},
		{"started", nil, "/startupz", 200, `{"status":"started","version":"v1"}`},
		{"started stays so when it is no longer ready", func(h *admin.Health) { h.Checks[0].OK = false }, "/startupz", 200, `{"status":"started","version":"v1"}`},
		{"not started", func(h *admin.Health) { h.Started = false }, "/startupz", 503, `{"status":"starting","version":"v1"}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := setup(t)
			if row.spoil != nil {
				row.spoil(&w.health)
			}
			a := w.ask("GET", row.path)
			if a.Code != row.status || strings.TrimSpace(a.Body.String()) != row.body {
				t.Errorf("got  %d %s\nwant %d %s", a.Code, a.Body, row.status, row.body)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	a := setup(t).ask("GET", "/v1/admin/status")
	var got, want any
	if err := json.Unmarshal(a.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	text := `{"ok":true,"ready":true,"version":"v1","listeners":{"api":"h:1","peer":"h:2","admin":"h:3"},
		"checks":[{"name":"journal","ok":true},{"name":"running","ok":true},{"name":"durable","ok":false,"detail":"a ram disk","advice":true}],
		"journal":{"id":"01020300-0000-0000-0000-000000000000","epoch":3,"seq":7,"operations":9,"boot":2,"unclean":true,"durable":false,"bytes":5,"syncs":{"of":2,"p50_ms":1.5,"p99_ms":9},"live":{"due":4}},
		"backlogs":[{"place":"due","count":4,"later":1,"oldest":"1970-01-01T00:00:00Z"},{"place":"mail","count":0}],
		"limits":[{"name":"accept","used":1,"most":2}]}`
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	if a.Code != 200 || !reflect.DeepEqual(got, want) {
		t.Errorf("got %d %s", a.Code, a.Body)
	}
}

func TestNoPeersIsAnEmptyList(t *testing.T) {
	t.Parallel()
	a := setup(t).ask("GET", "/v1/admin/peers")
	if got := strings.TrimSpace(a.Body.String()); a.Code != 200 || got != `{"ok":true,"peers":[]}` {
		t.Errorf("got %d %s", a.Code, got)
	}
}

func TestDestinations(t *testing.T) {
	t.Parallel()
	a := setup(t).ask("GET", "/v1/admin/destinations")
	want := `{"ok":true,"total":7,"destinations":[{"agent":"` + billing + `","waiting":4,"later":0,"in_flight":0,"why":[{"code":"no_endpoint","text":"Nobody."}]}]}`
	if got := strings.TrimSpace(a.Body.String()); a.Code != 200 || got != want {
		t.Errorf("got  %d %s\nwant 200 %s", a.Code, got, want)
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, id string
		err      error
		status   int
		code     string
	}{
		{"forgotten", peerID.String(), nil, 200, ""},
		{"not an id", "billing", nil, 422, "invalid_journal_id"},
		{"nobody known", peerID.String(), fmt.Errorf("forget: %w", outbound.ErrUnknownPeer), 404, "peer_not_found"},
		{"journal poisoned", peerID.String(), journal.ErrFailed, 503, "journal_failed"},
		{"our fault", peerID.String(), errors.New("boom"), 500, "internal_error"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := setup(t)
			w.forget = row.err
			a := w.ask("POST", "/v1/admin/peers/"+row.id+"/forget")
			if a.Code != row.status || code(t, a) != row.code {
				t.Errorf("got %d %s, want %d with code %q", a.Code, a.Body, row.status, row.code)
			}
			asked := len(w.forgotten) == 1 && w.forgotten[0] == peerID
			if want := row.status != 422; asked != want {
				t.Errorf("forgotten %v", w.forgotten)
			}
		})
	}
}

// A browser can be made to send requests to localhost; forgetting a peer
// makes duplicates.
func TestForeignPagesAreRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		header []string
		status int
	}{
		{"name of loopback", []string{"Host", "localhost:7402"}, 200},
		{"literal address", []string{"Host", "[::1]:7402"}, 200},
		{"literal address without port", []string{"Host", "10.0.0.7"}, 200},
		{"configured name", []string{"Host", "Orders.svc:7402"}, 200},
		{"a name that was pointed at us", []string{"Host", "evil.example:7402"}, 403},
		{"no host", []string{"Host", ""}, 403},
		{"cross-site", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"foreign origin", []string{"Origin", "https://evil.example"}, 403},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := setup(t)
			a := w.ask("POST", "/v1/admin/peers/"+peerID.String()+"/forget", row.header...)
			if a.Code != row.status {
				t.Errorf("got %d %s, want %d", a.Code, a.Body, row.status)
			}
			if row.status != 200 && len(w.forgotten) > 0 {
				t.Error("refused, and done all the same")
			}
		})
	}
}

func TestUnknownPage(t *testing.T) {
	t.Parallel()
	a := setup(t).ask("GET", "/metricz")
	if a.Code != 404 || code(t, a) != "not_found" {
		t.Errorf("got %d %s", a.Code, a.Body)
	}
}

// What is meant for gRPC and comes otherwise is told so.
func TestClientStatusIsGRPC(t *testing.T) {
	t.Parallel()
	service := xds.NewStatusServer(nil)
	t.Cleanup(service.Stop)
	h := admin.New(admin.Source{ClientStatus: service}, nil, slog.New(slog.DiscardHandler))
	for name, row := range map[string]struct {
		major  int
		as     string
		status int
		code   string
	}{
		"HTTP/1.1":   {1, "application/grpc", 415, "grpc_only"},
		"JSON":       {2, "application/json", 415, "grpc_only"},
		"gRPC":       {2, "application/grpc", 200, ""},
		"gRPC, form": {2, "application/grpc+proto", 200, ""},
	} {
		r := httptest.NewRequest("POST", xds.ClientStatusService+"FetchClientStatus", strings.NewReader("\x00\x00\x00\x00\x00"))
		r.Host, r.ProtoMajor = "localhost", row.major
		r.Header.Set("Content-Type", row.as)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != row.status || code(t, w) != row.code {
			t.Errorf("%s: %d %s, want %d with code %q", name, w.Code, w.Body, row.status, row.code)
		}
		if row.status == 200 && w.Result().Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("%s: the trailers are %v", name, w.Result().Trailer)
		}
	}
}

// code is that of a problem document; empty for another answer.
func code(t *testing.T, a *httptest.ResponseRecorder) string {
	t.Helper()
	if a.Header().Get("Content-Type") != "application/problem+json" {
		return ""
	}
	var p struct {
		Status int `json:"status"`
		Error  struct{ Code, Message string }
	}
	if err := json.Unmarshal(a.Body.Bytes(), &p); err != nil || p.Status != a.Code || p.Error.Message == "" {
		t.Errorf("not a problem document of its status: %s", a.Body)
	}
	return p.Error.Code
}

func TestXDS(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		path string
		xds  func(bool) xds.Status
		want string
	}{
		{"/v1/admin/xds", nil, `{"ok":true,"configured":false}`},
		{"/v1/admin/xds", func(dump bool) xds.Status { return xds.Status{Node: fmt.Sprint("dump ", dump), Stale: true} },
			`{"ok":true,"configured":true,"node_id":"dump false","stale":true,"servers":null,"agents":null,"resources":null}`},
		{"/v1/admin/xds/dump", func(dump bool) xds.Status { return xds.Status{Node: fmt.Sprint("dump ", dump)} },
			`{"ok":true,"configured":true,"node_id":"dump true","stale":false,"servers":null,"agents":null,"resources":null}`},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, row.path, nil)
		r.Host = "localhost"
		admin.New(admin.Source{XDS: row.xds}, nil, slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
		if got := strings.TrimSpace(w.Body.String()); w.Code != 200 || got != row.want {
			t.Errorf("%s: %d %s, want %s", row.path, w.Code, got, row.want)
		}
	}
}
