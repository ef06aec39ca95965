package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pannier/proxy/api"
)

// What the process asks itself needs no key, sees what its caller may see, and a
// person's decision has their name in the log.
func TestInside(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	sent := w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"`+approvals+`","payload":{},"human_task":{}}`, "x-api-key: k-orders").want(200)
	path := "/v1/intents/" + sent.text("intent_id")
	do := func(c *api.Caller, method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		w.api.Inside(c).ServeHTTP(rec, r)
		return rec
	}
	const approve = `{"actor":"eve","task_result":{"outcome":"approved"}}`
	if rec := do(&api.Caller{Agents: []string{billing}, Person: "bob"}, "POST", path+"/resume", approve); rec.Code != http.StatusForbidden && rec.Code != http.StatusNotFound {
		t.Errorf("who is not asked decides: %d %s", rec.Code, rec.Body)
	}
	if rec := do(nil, "GET", path, ""); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `"may_decide":true`) {
		t.Errorf("an operator sees %d %s", rec.Code, rec.Body)
	}
	for agent, may := range map[string]string{approvals: `"may_decide":true`, orders: `"may_decide":false`} {
		if rec := do(&api.Caller{Agents: []string{agent}, Person: "ann"}, "GET", path, ""); !strings.Contains(rec.Body.String(), may) {
			t.Errorf("%s sees %d %s, want %s", agent, rec.Code, rec.Body, may)
		}
	}
	if rec := do(&api.Caller{Agents: []string{approvals}, Person: "ann@acme.example"}, "POST", path+"/resume", approve); rec.Code != http.StatusOK {
		t.Fatalf("who is asked gets %d %s", rec.Code, rec.Body)
	}
	log := do(nil, "GET", path+"/events", "").Body.String()
	if !strings.Contains(log, `"actor":"ann@acme.example"`) || strings.Contains(log, `"eve"`) {
		t.Errorf("the log does not say who decided: %s", log)
	}
	if a := w.get(path); a.status != http.StatusUnauthorized {
		t.Errorf("from outside, without a key: %d, want 401", a.status)
	}
}

// A person acts for agents and is none of them: they are asked what any of those is.
func TestPersonActsForMany(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	for _, to := range []string{approvals, billing, "agent://acme/prod/other"} {
		w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"`+to+`","payload":{},"human_task":{"title":"`+to+`"}}`, "x-api-key: k-orders").want(200)
	}
	r := httptest.NewRequest("GET", "http://localhost/v1/me/tasks", nil)
	rec := httptest.NewRecorder()
	w.api.Inside(&api.Caller{Agents: []string{approvals, billing}, Person: "ann@acme.example"}).ServeHTTP(rec, r)
	for title, want := range map[string]bool{approvals: true, billing: true, "agent://acme/prod/other": false} {
		if got := strings.Contains(rec.Body.String(), `"title":"`+title); got != want {
			t.Errorf("asked what %s is: %v, want %v: %s", title, got, want, rec.Body)
		}
	}
}

// What is delegated is among the tasks of whom it was delegated to, who see it and decide;
// what a person says on the way has their name.
func TestDelegatedTask(t *testing.T) {
	t.Parallel()
	w := setup(t, keyed)
	const legal = "agent://acme/people/legal"
	id := w.post("/v1/intents", `{"intent_type":"a.v1","to_agent":"`+approvals+`","payload":{},"human_task":{}}`, "x-api-key: k-orders").want(200).text("intent_id")
	do := func(c *api.Caller, method, path, body string, want int) string {
		t.Helper()
		r := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		w.api.Inside(c).ServeHTTP(rec, r)
		if rec.Code != want {
			t.Errorf("%s %s as %s: %d %s, want %d", method, path, c.Person, rec.Code, rec.Body, want)
		}
		return rec.Body.String()
	}
	ann, bob := &api.Caller{Agents: []string{approvals}, Person: "ann@acme.example"}, &api.Caller{Agents: []string{billing, legal}, Person: "bob@acme.example"}
	if list := do(bob, "GET", "/v1/me/tasks", "", 200); strings.Contains(list, id) {
		t.Errorf("before it is delegated it is listed: %s", list)
	}
	do(bob, "GET", "/v1/intents/"+id, "", 404)
	do(bob, "GET", "/v1/inbox/"+id, "", 404)
	do(bob, "POST", "/v1/inbox/"+id+"/delegate", `{"delegate_to":"`+legal+`"}`, 404)
	sender := &api.Caller{Agents: []string{"agent://acme/prod/orders", "agent://acme/prod/other"}}
	do(sender, "GET", "/v1/inbox/"+id, "", 200) // who sent it has the thread, and no say in who decides
	do(sender, "POST", "/v1/inbox/"+id+"/delegate", `{"delegate_to":"agent://acme/prod/other"}`, 403)
	do(sender, "POST", "/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved"}}`, 403)
	do(ann, "POST", "/v1/inbox/"+id+"/delegate", `{"delegate_to":"`+legal+`","note":"yours"}`, 200)
	for _, path := range []string{"/v1/me/tasks", "/v1/me/tasks?owner_agent=" + legal} {
		if list := do(bob, "GET", path, "", 200); !strings.Contains(list, id) {
			t.Errorf("%s lacks what was delegated: %s", path, list)
		}
	}
	if list := do(bob, "GET", "/v1/me/tasks?owner_agent="+billing, "", 200); strings.Contains(list, id) {
		t.Errorf("it is listed as another agent's: %s", list)
	}
	if list := do(ann, "GET", "/v1/me/tasks", "", 200); !strings.Contains(list, id) {
		t.Errorf("who has delegated it does not have it any more: %s", list)
	}
	do(&api.Caller{Agents: []string{"agent://acme/people/board"}, Person: "eve@acme.example"}, "GET", "/v1/intents/"+id, "", 404)
	do(bob, "GET", "/v1/intents/"+id, "", 200)
	do(bob, "POST", "/v1/inbox/"+id+"/reply", `{"message":"looking"}`, 200)
	do(bob, "POST", "/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved"}}`, 200)
	thread := do(ann, "GET", "/v1/inbox/"+id, "", 200)
	for _, want := range []string{`"actor":"ann@acme.example","at"`, `"actor":"bob@acme.example"`, `"looking"`} {
		if !strings.Contains(thread, want) {
			t.Errorf("the thread lacks %s: %s", want, thread)
		}
	}
}
