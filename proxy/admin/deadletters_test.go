package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func openJournal(t *testing.T) *journal.Journal {
	t.Helper()
	j, err := journal.Open(journal.Options{Dir: t.TempDir(), Backoff: func(int) time.Duration { return 0 }})
	if err != nil {
		t.Fatalf("open journal: %v", err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("close journal: %v", err)
		}
	})
	return j
}

// accept takes an intent to billing.
func (w *world) accept(t *testing.T, change func(*wire.Envelope)) journal.ID {
	t.Helper()
	e := &wire.Envelope{
		IntentType: "order.process.v1", FromAgent: "orders", ToAgent: "agent://acme/prod/billing", Payload: []byte(`{"order_id":"ORD-1"}`),
		CorrelationId: "c-1", Traceparent: traceparent, MaxDeliveryAttempts: 2,
	}
	if change != nil {
		change(e)
	}
	got, err := w.journal.Accept(t.Context(), []journal.Accept{{Envelope: e}})
	if err != nil || got[0].Err != nil {
		t.Fatal(err, got)
	}
	return got[0].ID
}

// fail hands it to the app until its attempts are used up.
func (w *world) fail(t *testing.T, id journal.ID, times int) {
	t.Helper()
	ctx := context.Background()
	no, _ := w.journal.AgentNo("agent://acme/prod/billing")
	offers, _, err := w.journal.Due(no, time.Now(), 100, func(x journal.ID) bool { return x != id })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.journal.HoldLocal(ctx, offers, make([]journal.Terms, len(offers))); err != nil {
		t.Fatal(err)
	}
	for n := range times {
		handed, err := w.journal.Lease(ctx, []journal.ID{id}, []journal.Terms{{For: time.Minute}})
		if err != nil || handed[0].Err != nil {
			t.Fatal(err, handed)
		}
		s, err := w.journal.Settle(ctx, []journal.Settle{{ID: id, Lease: handed[0].Lease, Action: journal.Nack, Reason: fmt.Sprintf("try %d: no such order", n+1)}})
		if err != nil || s[0].Err != nil {
			t.Fatal(err, s)
		}
	}
}

// die makes a dead letter.
func (w *world) die(t *testing.T) journal.ID {
	t.Helper()
	id := w.accept(t, nil)
	if err := w.journal.Refuse(t.Context(), id, 1, state.ReasonTooLarge, "larger than any sidecar takes"); err != nil {
		t.Fatal(err)
	}
	return id
}

// decode reads a 200 answer.
func decode[T any](t *testing.T, a *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if a.Code != 200 {
		t.Fatalf("got %d %s", a.Code, a.Body)
	}
	if err := json.Unmarshal(a.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, a.Body)
	}
	return v
}

type letter struct {
	ID          string `json:"intent_id"`
	Status      string `json:"status"`
	Reason      string `json:"reason"`
	Code        string `json:"code"`
	Cause       string `json:"cause"`
	LastAnswer  string `json:"last_answer"`
	Type        string `json:"intent_type"`
	From        string `json:"from_agent"`
	To          string `json:"to_agent"`
	Traceparent string `json:"traceparent"`
	TraceID     string `json:"trace_id"`
	Role        string `json:"role"`
	EndedAt     string `json:"ended_at"`
	RedriveOf   string `json:"redrive_of"`
	RedrivenAs  string `json:"redriven_as"`
	Attempts    struct {
		N, Max int
		Failed []struct {
			Attempt int
			At      time.Time
			Reason  string
			Message string
		}
	}
	Payload, Error json.RawMessage
}

type letters struct {
	List []letter `json:"dead_letters"`
	Next *string  `json:"next_cursor"`
}

func TestDeadLetterShowsWhatHappened(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept(t, nil)
	w.fail(t, id, 2)
	got := decode[struct {
		Letter letter `json:"dead_letter"`
	}](t, w.ask("GET", "/v1/admin/dead-letters/"+id.String())).Letter
	for name, pair := range map[string][2]string{
		"status": {got.Status, "FAILED"}, "reason": {got.Reason, "exhausted"}, "code": {got.Code, "delivery_failed"}, "cause": {got.Cause, "exhausted"},
		"last_answer": {got.LastAnswer, "try 2: no such order"}, "type": {got.Type, "order.process.v1"}, "from": {got.From, "orders"},
		"to": {got.To, "agent://acme/prod/billing"}, "traceparent": {got.Traceparent, traceparent}, "trace_id": {got.TraceID, "4bf92f3577b34da6a3ce929d0e0e4736"},
		"role": {got.Role, "home"}, "payload": {string(got.Payload), `{"order_id":"ORD-1"}`}, "redriven_as": {got.RedrivenAs, ""},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %q, want %q", name, pair[0], pair[1])
		}
	}
	a := got.Attempts
	if a.N != 2 || a.Max != 2 || len(a.Failed) != 2 || a.Failed[0].Attempt != 1 || a.Failed[0].Message != "try 1: no such order" || a.Failed[1].At.Before(a.Failed[0].At) {
		t.Errorf("attempts: %+v", a)
	}
	if got.EndedAt == "" || len(got.Error) == 0 {
		t.Errorf("ended at %q with error %s", got.EndedAt, got.Error)
	}
	if a := w.ask("GET", "/v1/admin/dead-letters/"+w.accept(t, nil).String()); a.Code != 409 || code(t, a) != "not_dead_letter" {
		t.Errorf("an open intent: %d %s", a.Code, a.Body)
	}
	if a := w.ask("GET", "/v1/admin/dead-letters/"+journal.NewID().String()); a.Code != 404 || code(t, a) != "intent_not_found" {
		t.Errorf("an unknown one: %d %s", a.Code, a.Body)
	}
}

func TestListDeadLetters(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ids := []journal.ID{w.die(t), w.die(t), w.die(t)}
	first := decode[letters](t, w.ask("GET", "/v1/admin/dead-letters?limit=2"))
	if len(first.List) != 2 || first.Next == nil {
		t.Fatalf("first page: %+v", first)
	}
	second := decode[letters](t, w.ask("GET", "/v1/admin/dead-letters?limit=2&cursor="+*first.Next))
	if len(second.List) != 1 || second.Next != nil {
		t.Errorf("second page: %+v", second)
	}
	seen := map[string]bool{}
	for _, l := range append(first.List, second.List...) {
		seen[l.ID] = true
	}
	for _, id := range ids {
		if !seen[id.String()] {
			t.Errorf("%s is on no page", id)
		}
	}
	for _, row := range []struct {
		query string
		want  int
	}{
		{"?agent=acme/prod/billing", 3}, {"?agent=acme/prod/orders", 0}, {"?reason=rejected", 3}, {"?reason=too_large", 3}, {"?reason=expired", 0},
		{"?type=order.process.v1", 3}, {"?type=other.v1", 0}, {"?since=2020-01-01T00:00:00Z", 3}, {"?until=2020-01-01T00:00:00Z", 0}, {"?redriven=false", 3},
	} {
		if got := len(decode[letters](t, w.ask("GET", "/v1/admin/dead-letters"+row.query)).List); got != row.want {
			t.Errorf("%s: got %d, want %d", row.query, got, row.want)
		}
	}
	for _, query := range []string{"?limit=0", "?limit=201", "?limit=x", "?reason=nack", "?reason=gone", "?since=yesterday", "?cursor=zz", "?redriven=maybe", "?agent=a%20b"} {
		if a := w.ask("GET", "/v1/admin/dead-letters"+query); a.Code != 422 {
			t.Errorf("%s: got %d %s, want refused", query, a.Code, a.Body)
		}
	}
}

// TestWaitingIsNoDeadLetter: on_exhausted: hold is listed on request.
func TestWaitingIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept(t, func(e *wire.Envelope) { e.HoldWhenExhausted = true })
	w.accept(t, nil)
	w.fail(t, id, 2)
	if got := decode[letters](t, w.ask("GET", "/v1/admin/dead-letters")).List; len(got) != 0 {
		t.Errorf("listed as dead: %+v", got)
	}
	got := decode[letters](t, w.ask("GET", "/v1/admin/dead-letters?waiting=true")).List
	if len(got) != 1 || got[0].ID != id.String() || got[0].Status != "WAITING" || got[0].Reason != "waiting" || got[0].Cause != "exhausted" || len(got[0].Attempts.Failed) != 2 {
		t.Errorf("waiting: %+v", got)
	}
	if a := w.say("POST", "/v1/admin/dead-letters/"+id.String()+"/redrive", ""); a.Code != 409 || code(t, a) != "not_dead_letter" {
		t.Errorf("redrive of one that waits: %d %s", a.Code, a.Body)
	}
}

func TestRedriveOne(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.die(t)
	path := "/v1/admin/dead-letters/" + id.String() + "/redrive"
	for _, body := range []string{`{"payload":[]}`, `{"payload":{"a":1,"a":2}}`, `{"to_agent":"a b"}`, `{"deliver_by":"2020-01-01T00:00:00Z"}`} {
		if a := w.say("POST", path, body); a.Code != 422 {
			t.Errorf("%s: got %d %s, want refused", body, a.Code, a.Body)
		}
	}
	if a := w.say("POST", path, `{"paylod":{}}`); a.Code != 400 {
		t.Errorf("an unknown field: %d", a.Code)
	}
	got := decode[struct {
		ID        string `json:"intent_id"`
		RedriveOf string `json:"redrive_of"`
	}](t, w.say("POST", path, `{"payload":{"order_id":"ORD-2"},"to_agent":"acme/prod/other","deliver_by":"2099-01-01T00:00:00Z","actor":"ann"}`))
	next, err := journal.ParseID(got.ID)
	if err != nil || got.RedriveOf != id.String() {
		t.Fatalf("%v: %+v", err, got)
	}
	i, err := w.journal.Get(next)
	if err != nil {
		t.Fatal(err)
	}
	if string(i.Envelope.Payload) != `{"order_id":"ORD-2"}` || i.Envelope.ToAgent != "agent://acme/prod/other" || time.UnixMilli(i.Head.DeliverByMs).UTC().Year() != 2099 {
		t.Errorf("the edits: %v", i)
	}
	events, _, err := w.journal.Events(next, 0)
	if err != nil || events[0].Actor != "ann" {
		t.Errorf("%v: made by %v", err, events)
	}
	if a := w.say("POST", path, ""); a.Code != 409 || code(t, a) != "already_redriven" {
		t.Errorf("a second time: %d %s", a.Code, a.Body)
	}
}

// TestRedriveUnderAKey: a lost answer comes again, and another wish is refused.
func TestRedriveUnderAKey(t *testing.T) {
	t.Parallel()
	w := setup(t)
	path := "/v1/admin/dead-letters/" + w.die(t).String() + "/redrive"
	type answer struct {
		ID string `json:"intent_id"`
	}
	edit := `{"payload":{"order_id":"ORD-2"}}`
	first := w.say("POST", path, edit, "Idempotency-Key", "k-1")
	again := w.say("POST", path, ` {"payload": {"order_id": "ORD-2"}} `, "Idempotency-Key", "k-1")
	if a, b := decode[answer](t, first), decode[answer](t, again); a.ID == "" || a != b {
		t.Errorf("got %v, then %v", a, b)
	}
	if first.Header().Get("Idempotency-Replayed") != "" || again.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("marked as replayed: %q, then %q", first.Header().Get("Idempotency-Replayed"), again.Header().Get("Idempotency-Replayed"))
	}
	for _, row := range []struct {
		body, key, code string
		status          int
	}{
		{`{}`, "k-1", "idempotency_conflict", 409},
		{edit, "k-2", "already_redriven", 409},
		{edit, "", "already_redriven", 409},
		{edit, "a b", "invalid_request", 400},
	} {
		header := []string{"Idempotency-Key", row.key}
		if row.key == "" {
			header = nil
		}
		if a := w.say("POST", path, row.body, header...); a.Code != row.status || code(t, a) != row.code {
			t.Errorf("%s under %q: %d %s, want %d %s", row.body, row.key, a.Code, a.Body, row.status, row.code)
		}
	}
}

// TestRedriveOfAKilledSender: a successor would be sent in its name.
func TestRedriveOfAKilledSender(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.die(t)
	if err := w.journal.SetKilled(t.Context(), "orders", true, "ann"); err != nil {
		t.Fatal(err)
	}
	path := "/v1/admin/dead-letters/" + id.String() + "/redrive"
	if a := w.say("POST", path, ""); a.Code != 403 || code(t, a) != "policy_denied" {
		t.Errorf("of one: %d %s", a.Code, a.Body)
	}
	got := decode[many](t, w.say("POST", "/v1/admin/dead-letters/redrive", `{"filter":{}}`))
	if len(got.Redriven) != 0 || len(got.Failed) != 1 || got.Failed[0].ID != id.String() || got.Failed[0].Code != "policy_denied" {
		t.Errorf("of many: %+v", got)
	}
	if err := w.journal.SetKilled(t.Context(), "orders", false, "ann"); err != nil {
		t.Fatal(err)
	}
	if a := w.say("POST", path, ""); a.Code != 200 {
		t.Errorf("once it is resumed: %d %s", a.Code, a.Body)
	}
}

type many struct {
	Redriven []struct {
		ID         string `json:"intent_id"`
		RedrivenAs string `json:"redriven_as"`
	}
	Failed []struct {
		ID   string `json:"intent_id"`
		Code string
	}
	Until string
	Next  *string `json:"next_cursor"`
}

func TestRedriveMany(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a, _, _ := w.die(t), w.die(t), w.die(t)
	one := decode[many](t, w.say("POST", "/v1/admin/dead-letters/redrive", `{"filter":{"agent":"acme/prod/billing"},"limit":1,"rate_per_second":1000}`))
	if len(one.Redriven) != 1 || one.Next == nil || one.Until == "" {
		t.Fatalf("one of three: %+v", one)
	}
	rest := decode[many](t, w.say("POST", "/v1/admin/dead-letters/redrive", fmt.Sprintf(`{"filter":{"until":%q},"cursor":%q,"rate_per_second":1000}`, one.Until, *one.Next)))
	if len(rest.Redriven) != 2 || rest.Next != nil {
		t.Fatalf("the rest: %+v", rest)
	}
	again := decode[many](t, w.say("POST", "/v1/admin/dead-letters/redrive", `{"filter":{}}`))
	if len(again.Redriven)+len(again.Failed) != 0 {
		t.Errorf("what has a successor is redriven again: %+v", again)
	}
	d, open := w.die(t), w.accept(t, nil)
	mixed := decode[many](t, w.say("POST", "/v1/admin/dead-letters/redrive", fmt.Sprintf(`{"ids":[%q,%q,%q]}`, a, d, open)))
	if len(mixed.Redriven) != 1 || mixed.Redriven[0].ID != d.String() || len(mixed.Failed) != 2 || mixed.Failed[0].Code != "already_redriven" || mixed.Failed[1].Code != "not_dead_letter" {
		t.Errorf("by ids: %+v", mixed)
	}
	for _, body := range []string{`{}`, `{"ids":[],"filter":{}}`, `{"filter":{"agnet":"x"}}`, `{"filter":{},"rate_per_second":0}`, `{"filter":{},"limit":1001}`, `{"ids":["x"]}`, `{"filter":{},"cursor":"x"}`} {
		if a := w.say("POST", "/v1/admin/dead-letters/redrive", body); a.Code != 422 {
			t.Errorf("%s: got %d %s, want refused", body, a.Code, a.Body)
		}
	}
}

type purged struct {
	Matched, Purged int
	Until           string
	Sample          []letter
	Failed          []struct{ Code string }
}

// A dry run says how many would be redriven, and redrives none.
func TestDryRunOfARedrive(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ids := []journal.ID{w.die(t), w.die(t)}
	open := w.accept(t, nil)
	for _, body := range []string{`{"filter":{"reason":"rejected"},"dry_run":true}`, `{"ids":["` + ids[0].String() + `","` + ids[1].String() + `"],"dry_run":true}`} {
		if dry := decode[purged](t, w.say("POST", "/v1/admin/dead-letters/redrive", body)); dry.Matched != 2 || len(dry.Sample) != 2 || dry.Sample[0].Payload != nil || len(dry.Failed) != 0 {
			t.Errorf("%s: %+v", body, dry)
		}
	}
	if dry := decode[purged](t, w.say("POST", "/v1/admin/dead-letters/redrive", `{"ids":["`+open.String()+`"],"dry_run":true}`)); len(dry.Failed) != 1 || len(dry.Sample) != 0 {
		t.Errorf("of one that is open: %+v", dry)
	}
	if left := decode[letters](t, w.ask("GET", "/v1/admin/dead-letters?redriven=false")); len(left.List) != 2 {
		t.Errorf("after a dry run %d have no successor", len(left.List))
	}
}

// TestPurgeAsksFirst: nothing is removed before the caller has said how many.
func TestPurgeAsksFirst(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ids := []journal.ID{w.die(t), w.die(t)}
	open := w.accept(t, nil)
	left := func(want int) {
		t.Helper()
		if got := len(decode[letters](t, w.ask("GET", "/v1/admin/dead-letters")).List); got != want {
			t.Fatalf("%d are left, want %d", got, want)
		}
	}
	dry := decode[purged](t, w.say("POST", "/v1/admin/dead-letters/purge", `{"filter":{"reason":"rejected"},"dry_run":true}`))
	if dry.Matched != 2 || len(dry.Sample) != 2 || dry.Until == "" || dry.Purged != 0 || dry.Sample[0].Payload != nil {
		t.Errorf("dry run: %+v", dry)
	}
	for _, body := range []string{`{"filter":{}}`, `{"filter":{},"confirm":1}`, `{"filter":{},"confirm":3}`} {
		if a := w.say("POST", "/v1/admin/dead-letters/purge", body); a.Code != 409 || code(t, a) != "confirmation_required" {
			t.Errorf("%s: got %d %s", body, a.Code, a.Body)
		}
	}
	left(2)
	late := w.die(t) // after the dry run: not what was confirmed
	if a := w.say("POST", "/v1/admin/dead-letters/purge", `{"filter":{},"confirm":2}`); a.Code != 409 {
		t.Errorf("confirmed two of three: %d %s", a.Code, a.Body)
	}
	one := decode[purged](t, w.say("POST", "/v1/admin/dead-letters/purge", fmt.Sprintf(`{"ids":[%q,%q],"confirm":2}`, late, open)))
	if one.Purged != 1 || len(one.Failed) != 1 || one.Failed[0].Code != "not_dead_letter" {
		t.Errorf("by ids: %+v", one)
	}
	left(2)
	all := decode[purged](t, w.say("POST", "/v1/admin/dead-letters/purge", fmt.Sprintf(`{"filter":{"until":%q},"confirm":2}`, dry.Until)))
	if all.Purged != 2 {
		t.Errorf("confirmed: %+v", all)
	}
	left(0)
	if a := w.ask("GET", "/v1/admin/dead-letters/"+ids[0].String()); a.Code != 404 {
		t.Errorf("a purged one: %d", a.Code)
	}
	if i, err := w.journal.Get(open); err != nil || i.Status() != state.Submitted {
		t.Errorf("the open one: %v", err)
	}
}
