package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// refusal is one bad request and what must be said of it.
type refusal struct {
	method, path string
	body         string
	header       []string
	status       int
	names        string // what the answer must name: the field, or the limit
}

// refusals are the rules of bad input, one row each.
func refusals(t *testing.T, s *sidecar) map[string]refusal {
	t.Helper()
	post := func(body string, status int, names string, header ...string) refusal {
		return refusal{method: "POST", path: "/v1/intents", body: body, header: header, status: status, names: names}
	}
	with := func(field, value string) string {
		fields := map[string]string{"intent_type": `"order.v1"`, "to_agent": `"agent://acme/prod/billing"`, "payload": `{}`}
		fields[field] = value
		var parts []string
		for k, v := range fields {
			if v != "" {
				parts = append(parts, fmt.Sprintf("%q: %s", k, v))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	unknown := "/v1/intents/01890a5d-ac96-774b-bcce-b302099a8057"
	return map[string]refusal{
		"not JSON":                post("{", 400, ""),
		"nothing":                 post("", 400, ""),
		"an array":                post("[]", 422, ""),
		"duplicate key":           post(`{"intent_type":"a.v1","to_agent":"x","to_agent":"y","payload":{}}`, 400, "to_agent"),
		"duplicate key in depth":  post(with("payload", `{"a":{"b":1,"b":2}}`), 400, "b"),
		"bad UTF-8":               post(with("payload", "{\"a\":\"\xff\"}"), 400, ""),
		"too deep":                post(with("payload", strings.Repeat(`{"a":`, 65)+"1"+strings.Repeat("}", 65)), 400, "64"),
		"trailing garbage":        post(with("payload", "{}")+"{}", 400, ""),
		"no intent_type":          post(with("intent_type", ""), 422, "intent_type"),
		"bad intent_type":         post(with("intent_type", `"Order Placed"`), 422, "intent_type"),
		"no to_agent":             post(with("to_agent", ""), 422, "to_agent"),
		"empty to_agent":          post(with("to_agent", `""`), 422, "to_agent"),
		"to_agent no address":     post(with("to_agent", `"agent://"`), 422, "to_agent"),
		"to_agent not a string":   post(with("to_agent", `7`), 422, "to_agent"),
		"to_agent too long":       post(with("to_agent", `"`+strings.Repeat("a", 384)+`"`), 422, "to_agent"),
		"payload not an object":   post(with("payload", `"text"`), 422, "payload"),
		"deadline no date":        post(with("deadline_at", `"tomorrow"`), 422, "deadline_at"),
		"attempts zero":           post(with("max_delivery_attempts", "0"), 422, "max_delivery_attempts"),
		"unknown option":          post(with("delivery", `{"prority": 1}`), 422, "prority"),
		"wrong option":            post(with("delivery", `{"on_exhausted": "explode"}`), 422, "on_exhausted"),
		"option twice, different": post(with("delivery", `{"on_exhausted": "fail"}`), 400, "on_exhausted", "Pannier-On-Exhausted", "hold"),
		"too large":               post(with("payload", `{"a":"`+strings.Repeat("x", 1<<20)+`"}`), 413, "1048576"),
		"not JSON by its type":    post(with("payload", "{}"), 415, "Content-Type", "Content-Type", "text/plain"),
		"unknown intent":          {"GET", unknown, "", nil, 404, ""},
		"no id at all":            {"GET", "/v1/intents/not-an-id", "", nil, 404, ""},
		"unknown intent, ack":     {"POST", unknown + "/ack", `{"lease_id":"01890a5d-ac96-774b-bcce-b302099a8057"}`, nil, 404, ""},
		"unknown intent, resolve": {"POST", unknown + "/resolve", `{"status":"COMPLETED"}`, nil, 404, ""},
		"poll: limit":             {"GET", agentPath(billing, "/intents?limit=1001"), "", nil, 422, "limit"},
		"poll: wait":              {"GET", agentPath(billing, "/intents?wait_seconds=x"), "", nil, 422, "wait_seconds"},
		"poll: lease":             {"GET", agentPath(billing, "/intents?lease_seconds=0"), "", nil, 422, "lease_seconds"},
		"short form, no object":   {"POST", agentPath(billing, "/intents/order.v1"), `[1]`, nil, 422, ""},
		"foreign host":            {"GET", "/v1/intents", "", []string{"Host", "evil.example"}, 403, ""},
		"foreign host, post":      post(with("payload", "{}"), 403, "", "Host", "evil.example:7400"),
		"host that begins right":  post(with("payload", "{}"), 403, "", "Host", "localhost.evil.example"),
		"cross-site origin":       post(with("payload", "{}"), 403, "", "Origin", "https://evil.example"),
	}
}

// TestBadInputChangesNothing sends every row and looks that the answer is a
// problem document with AXP's error inside, that it names what is wrong, and
// that not one batch was written.
func TestBadInputChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	s.takeNothing(billing, 0) // a first poll may write the agent's name
	before := s.journalSeq()
	for name, row := range refusals(t, s) {
		var body any
		if row.method == "POST" {
			body = row.body
		}
		a := s.call(row.method, row.path, body, row.header...)
		if a.err != nil || a.code != row.status {
			t.Errorf("%s: %v, want %d", name, a, row.status)
			continue
		}
		checkProblem(t, name, a)
		if row.names != "" && !strings.Contains(string(a.body), row.names) {
			t.Errorf("%s: the answer does not name %s: %s", name, row.names, a.body)
		}
	}
	if after := s.journalSeq(); after != before {
		t.Errorf("refused requests wrote %d batches", after-before)
	}
	if all := s.list("limit=10"); len(all) != 0 {
		t.Errorf("refused requests made %d intents", len(all))
	}
}

// checkProblem: RFC 9457 around AXP's error object, in the form every client
// can read.
func checkProblem(t *testing.T, name string, a answer) {
	t.Helper()
	var doc struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Error  struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(a.body, &doc); err != nil {
		t.Errorf("%s: %v: %s", name, err, a.body)
		return
	}
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("%s: Content-Type %q", name, ct)
	}
	if doc.Status != a.code || doc.Title == "" || doc.Detail == "" || doc.Error.Code == "" || doc.Error.Message == "" {
		t.Errorf("%s: incomplete: %s", name, a.body)
	}
}

// TestHostsThatAreOurs: the names of loopback, with a port and without.
func TestHostsThatAreOurs(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	_, port, _ := strings.Cut(s.api, ":")
	for _, host := range []string{"localhost", "localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port} {
		if a := s.call("GET", "/v1/intents", nil, "Host", host); a.code != 200 {
			t.Errorf("Host %s: %v", host, a)
		}
	}
}

// journalSeq is the number of batches committed so far.
func (s *sidecar) journalSeq() uint64 {
	s.t.Helper()
	var doc struct {
		Journal struct {
			Seq uint64 `json:"seq"`
		} `json:"journal"`
	}
	s.operate("GET", "/v1/admin/status", nil).into(s.t, &doc)
	return doc.Journal.Seq
}

// TestBadConfig: strict, with the line, and exit 2 before anything listens.
func TestBadConfig(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		config map[string]string
		args   []string
		names  []string
	}{
		"unknown key":            {map[string]string{"deliver_bi": "1s"}, nil, []string{"deliver_bi", "deliver_by", ":1:"}},
		"wrong type":             {map[string]string{"work_timeout": "soon"}, nil, []string{"work_timeout"}},
		"unknown learn":          {nil, []string{"--learn", "perhaps"}, []string{"learn"}},
		"bad agent":              {nil, []string{"--agent", "agent://"}, []string{"agent"}},
		"unknown flag":           {nil, []string{"--jurnal", "x"}, []string{"jurnal"}},
		"API beyond loopback":    {nil, []string{"--api", "0.0.0.0:0"}, []string{"api"}},
		"peer beyond, plaintext": {nil, []string{"--peer", "0.0.0.0:0"}, []string{"peer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSidecar(t, setup{name: "misconfigured", agents: []string{billing}, config: row.config, args: row.args})
			s.launch()
			s.awaitExit()
			if code := s.proc.cmd.ProcessState.ExitCode(); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			for _, word := range row.names {
				if !strings.Contains(s.stderr(), word) {
					t.Errorf("stderr does not name %s:\n%s", word, s.stderr())
				}
			}
		})
	}
}

// TestJournalIsNotShared: a second process on the same directory is refused,
// and the first goes on.
func TestJournalIsNotShared(t *testing.T) {
	t.Parallel()
	first := start(t, setup{name: "first", agents: []string{billing}})
	second := newSidecar(t, setup{name: "second", agents: []string{billing}, dir: first.dir})
	second.launch()
	second.awaitExit()
	if code := second.proc.cmd.ProcessState.ExitCode(); code <= 0 {
		t.Errorf("exit code %d", code)
	}
	carry(t, first, first)
}
