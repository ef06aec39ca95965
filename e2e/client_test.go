package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// answer is one HTTP exchange with a sidecar: err is set when there was no
// answer, and then nothing is known of what it did.
type answer struct {
	code   int
	header http.Header
	body   []byte
	err    error
}

func (a answer) String() string {
	if a.err != nil {
		return "no answer: " + a.err.Error()
	}
	return fmt.Sprintf("%d %s", a.code, tail(string(a.body), 600))
}

// errorCode is error.code of a problem document.
func (a answer) errorCode() string {
	var doc struct{ Error struct{ Code string } }
	json.Unmarshal(a.body, &doc) // not JSON: no code, and the caller compares
	return doc.Error.Code
}

// into decodes a 200.
func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if a.err != nil || a.code != http.StatusOK {
		t.Fatalf("want 200, got %v", a)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// intent is what GET shows of one.
type intent struct {
	ID              string          `json:"intent_id"`
	Type            string          `json:"intent_type"`
	Status          string          `json:"status"`
	LifecycleStatus string          `json:"lifecycle_status"`
	From            string          `json:"from_agent"`
	To              string          `json:"to_agent"`
	Correlation     string          `json:"correlation_id"`
	Payload         json.RawMessage `json:"payload"`
	Result          json.RawMessage `json:"result"`
	Error           json.RawMessage `json:"error"`
	Role            string          `json:"role"`
	CompletionOf    string          `json:"completion_of"`
	DeliveryAttempt int             `json:"delivery_attempt"`

	LateAnswers []json.RawMessage `json:"late_answers"`
	Handover    string            `json:"handover"` // at a holder: the phase of the hand-over
}

// event is one entry of an intent's log.
type event struct {
	Intent  string         `json:"intent_id"`
	Seq     int            `json:"seq"`
	Type    string         `json:"event_type"`
	Status  string         `json:"status"`
	At      time.Time      `json:"at"`
	Actor   string         `json:"actor"`
	Details map[string]any `json:"details"`
}

// item is one hand-over, as a poll gives it.
type item struct {
	ID              string          `json:"intent_id"`
	Seq             int64           `json:"seq"`
	Type            string          `json:"intent_type"`
	From            string          `json:"from_agent"`
	To              string          `json:"to_agent"`
	Payload         json.RawMessage `json:"payload"`
	Status          string          `json:"status"`
	DeliveryAttempt int             `json:"delivery_attempt"`
	Redelivered     bool            `json:"redelivered"`
	Lease           string          `json:"lease_id"`
	LeaseUntil      time.Time       `json:"lease_until"`
	IdempotencyKey  string          `json:"idempotency_key"`
	Traceparent     string          `json:"traceparent"`
}

// causes is the answer of `why`.
type causes struct {
	Status string `json:"status"`
	Text   string `json:"text"`
	Causes []struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
		Peer   string `json:"peer"`
	} `json:"causes"`
	Attempts struct {
		N   int `json:"n"`
		Max int `json:"max"`
	} `json:"attempts"`
	HeldBy string `json:"held_by"`
}

// call makes one request of the app API. body is JSON text, or a value to be
// encoded; header is name, value, name, value… What is said is held to
// openapi.yaml, whatever the test looks at.
func (s *sidecar) call(method, path string, body any, header ...string) answer {
	return call(s.app, s.apiURL(), method, path, body, header...)
}

// apiURL is where the app API is; s.http finds a socket by itself.
func (s *sidecar) apiURL() string {
	if strings.HasPrefix(s.api, "unix:") {
		return "http://localhost"
	}
	return "http://" + s.api
}

// operate is call on the admin listener.
func (s *sidecar) operate(method, path string, body any) answer {
	return call(s.http, "http://"+s.admin, method, path, body)
}

func call(client *http.Client, base, method, path string, body any, header ...string) answer {
	var text []byte
	switch b := body.(type) {
	case nil:
	case string:
		text = []byte(b)
	case []byte:
		text = b
	default:
		var err error
		if text, err = json.Marshal(b); err != nil {
			return answer{err: err}
		}
	}
	req, err := http.NewRequest(method, base+path, bytes.NewReader(text))
	if err != nil {
		return answer{err: err}
	}
	if text != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{code: resp.StatusCode, err: fmt.Errorf("after status %d: %w", resp.StatusCode, err)}
	}
	return answer{code: resp.StatusCode, header: resp.Header, body: got}
}

// message is the smallest body of POST /v1/intents, and options over it.
func message(to string, payload any, options ...map[string]any) map[string]any {
	m := map[string]any{"intent_type": "intent.order.process.v1", "to_agent": to, "payload": payload}
	for _, o := range options {
		for k, v := range o {
			m[k] = v
		}
	}
	return m
}

// delivery is an option of message.
func delivery(kv ...any) map[string]any {
	d := map[string]any{}
	for i := 0; i+1 < len(kv); i += 2 {
		d[kv[i].(string)] = kv[i+1]
	}
	return map[string]any{"delivery": d}
}

func (s *sidecar) tryPost(body any, key string) (string, answer) {
	var a answer
	if key == "" {
		a = s.call("POST", "/v1/intents", body)
	} else {
		a = s.call("POST", "/v1/intents", body, "Idempotency-Key", key)
	}
	if a.err != nil || a.code != http.StatusOK {
		return "", a
	}
	var doc struct {
		ID string `json:"intent_id"`
	}
	if err := json.Unmarshal(a.body, &doc); err != nil || doc.ID == "" {
		a.err = fmt.Errorf("200 without an intent_id: %s", a.body)
	}
	return doc.ID, a
}

// post accepts one intent and returns its id.
func (s *sidecar) post(to string, payload any, options ...map[string]any) string {
	s.t.Helper()
	id, a := s.tryPost(message(to, payload, options...), "")
	if a.err != nil || a.code != http.StatusOK {
		s.t.Fatalf("post at %s: %v", s.set.name, a)
	}
	return id
}

func (s *sidecar) get(id string) intent {
	s.t.Helper()
	var doc struct{ Intent intent }
	s.call("GET", "/v1/intents/"+id, nil).into(s.t, &doc)
	return doc.Intent
}

func (s *sidecar) events(id string) []event {
	s.t.Helper()
	var doc struct{ Events []event }
	s.call("GET", "/v1/intents/"+id+"/events", nil).into(s.t, &doc)
	return doc.Events
}

func (s *sidecar) why(id string) causes {
	s.t.Helper()
	var doc causes
	s.call("GET", "/v1/intents/"+id+"/why", nil).into(s.t, &doc)
	return doc
}

// list is every intent homed or held here.
func (s *sidecar) list(query string) []intent {
	s.t.Helper()
	var doc struct{ Intents []intent }
	s.call("GET", "/v1/intents?"+query, nil).into(s.t, &doc)
	return doc.Intents
}

// listAll is list over all its pages.
func (s *sidecar) listAll(query string) (all []intent) {
	s.t.Helper()
	for next := ""; ; {
		var doc struct {
			Intents []intent
			Next    string `json:"next_cursor"`
		}
		s.call("GET", "/v1/intents?limit=200&cursor="+next+"&"+query, nil).into(s.t, &doc)
		all = append(all, doc.Intents...)
		if next = doc.Next; next == "" {
			return all
		}
	}
}

// agentPath is the form the SDKs send: scheme gone, slashes bare.
func agentPath(agent, suffix string) string {
	return "/v1/agents/" + strings.TrimPrefix(agent, "agent://") + suffix
}

// take is what a poll asks for.
type take struct{ limit, wait, lease int }

func (p take) query() string {
	q := url.Values{}
	for name, v := range map[string]int{"limit": p.limit, "wait_seconds": p.wait, "lease_seconds": p.lease} {
		if v != 0 {
			q.Set(name, fmt.Sprint(v))
		}
	}
	return "?" + q.Encode()
}

func (s *sidecar) tryPoll(agent string, p take) ([]item, answer) {
	a := s.call("GET", agentPath(agent, "/intents")+p.query(), nil)
	if a.err != nil || a.code != http.StatusOK {
		return nil, a
	}
	var doc struct{ Intents []item }
	a.err = json.Unmarshal(a.body, &doc)
	return doc.Intents, a
}

func (s *sidecar) poll(agent string, p take) []item {
	s.t.Helper()
	items, a := s.tryPoll(agent, p)
	if a.err != nil || a.code != http.StatusOK {
		s.t.Fatalf("poll %s at %s: %v", agent, s.set.name, a)
	}
	return items
}

// take1 polls until one intent comes.
func (s *sidecar) take1(agent string, p take) item {
	s.t.Helper()
	p.limit = 1
	if p.wait == 0 {
		p.wait = 2
	}
	var got item
	eventually(s.t, "an intent for "+agent+" at "+s.set.name, func() error {
		items, a := s.tryPoll(agent, p)
		if len(items) == 1 {
			got = items[0]
			return nil
		}
		return fmt.Errorf("%d items, %v", len(items), a)
	})
	return got
}

// takeNothing is one poll that must come back empty.
func (s *sidecar) takeNothing(agent string, wait int) {
	s.t.Helper()
	if got := s.poll(agent, take{wait: wait}); len(got) != 0 {
		s.t.Fatalf("%s handed over %d intents, first %+v: want none", s.set.name, len(got), got[0])
	}
}

// settle is ack, nack or extend.
func (s *sidecar) settle(verb string, it item, more map[string]any) answer {
	body := map[string]any{"lease_id": it.Lease}
	for k, v := range more {
		body[k] = v
	}
	return s.call("POST", "/v1/intents/"+it.ID+"/"+verb, body)
}

// ack finishes it and must be believed.
func (s *sidecar) ack(it item, result any) {
	s.t.Helper()
	var more map[string]any
	if result != nil {
		more = map[string]any{"result": result}
	}
	if a := s.settle("ack", it, more); a.code != http.StatusOK {
		s.t.Fatalf("ack at %s: %v", s.set.name, a)
	}
}

// wait follows the event stream as an SDK does, until the intent ends.
func (s *sidecar) wait(id string) event {
	s.t.Helper()
	var last event
	eventually(s.t, "the end of "+id, func() error {
		for _, e := range s.stream(id, last.Seq, 5) {
			last = e
		}
		if !terminal(last.Status) {
			return fmt.Errorf("last event %d %s %s", last.Seq, last.Type, last.Status)
		}
		return nil
	})
	return last
}

// stream reads one whole response of the event stream; no answer is no event.
func (s *sidecar) stream(id string, since, wait int) []event {
	a := s.call("GET", fmt.Sprintf("/v1/intents/%s/events/stream?since=%d&wait_seconds=%d", id, since, wait), nil)
	var got []event
	for _, frame := range strings.Split(string(a.body), "\n\n") {
		var kind, data string
		for _, line := range strings.Split(frame, "\n") {
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				kind = v
			}
			if v, ok := strings.CutPrefix(line, "data: "); ok {
				data = v
			}
		}
		var e event
		if strings.HasPrefix(kind, "intent.") && json.Unmarshal([]byte(data), &e) == nil {
			got = append(got, e)
		}
	}
	return got
}

// status waits until the sidecar shows the intent in this status.
func (s *sidecar) status(id, want string) intent {
	s.t.Helper()
	var got intent
	eventually(s.t, id+" "+want+" at "+s.set.name, func() error {
		var doc struct{ Intent intent }
		a := s.call("GET", "/v1/intents/"+id, nil)
		if a.code != http.StatusOK {
			return fmt.Errorf("%v", a)
		}
		if err := json.Unmarshal(a.body, &doc); err != nil {
			return err
		}
		if got = doc.Intent; got.Status != want {
			return fmt.Errorf("status %s", got.Status)
		}
		return nil
	})
	return got
}

// holds waits until the sidecar has the intent in its mailbox.
func (s *sidecar) holds(id string) {
	s.t.Helper()
	eventually(s.t, s.set.name+" to hold "+id, func() error {
		a := s.call("GET", "/v1/intents/"+id, nil)
		if a.code == http.StatusOK {
			return nil
		}
		return fmt.Errorf("%v", a)
	})
}

// eventually is the one loop that waits on a condition. Its bound is far
// beyond what any test needs: a test fails for what is wrong, not for a slow
// machine. E2E_PATIENCE=n makes the bound n seconds.
func eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	bound := time.Duration(number(t, "E2E_PATIENCE", 60)) * time.Second
	began := time.Now()
	pause := 5 * time.Millisecond
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Since(began) > bound {
			t.Fatalf("waited %v for %s: %v", bound, what, err)
		}
		time.Sleep(pause)
		pause = min(pause*3/2, 100*time.Millisecond)
	}
}

// within is a duration in which something must not happen; the one place
// where a test lets time pass, since an absence cannot be waited for.
func within(d time.Duration, bad func() error) error {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := bad(); err != nil {
			return err
		}
	}
	return nil
}

var errNoAnswer = errors.New("no answer")

func terminal(status string) bool {
	switch status {
	case "COMPLETED", "FAILED", "CANCELED", "TIMED_OUT":
		return true
	}
	return false
}
