package e2e_test

import (
	"fmt"
	"net/http"
	"testing"

	"pannier/proxy/api/apitest"
)

type threadView struct {
	ID       string `json:"thread_id"`
	Status   string
	Decision struct {
		By string `json:"decided_by"`
	}
	Timeline []struct {
		Type    string `json:"event_type"`
		Details struct{ Message string }
	}
}

func (s *sidecar) thread(id, owner string) (th threadView) {
	s.t.Helper()
	var got struct{ Thread threadView }
	s.call("GET", "/v1/inbox/"+id+"?owner_agent="+owner, nil).into(s.t, &got)
	return got.Thread
}

func (s *sidecar) inbox(owner string) (ids []string) {
	s.t.Helper()
	var got struct{ Threads []threadView }
	s.call("GET", "/v1/inbox?owner_agent="+owner, nil).into(s.t, &got)
	for _, th := range got.Threads {
		ids = append(ids, th.ID)
	}
	return ids
}

// TestInboxBinding: what is sent to people is in their inbox at their own sidecar, and
// what they say there reaches home. Neither is lost with either process: each is killed
// right after it has said so.
func TestInboxBinding(t *testing.T) {
	t.Parallel()
	holder := newSidecar(t, setup{name: "holder", agents: []string{billing + "=inbox"}})
	home := newSidecar(t, setup{name: "home", agents: []string{shop}, peers: peersFile(t, map[string][]string{billing: {holder.peer}})})
	home.start()
	holder.start()
	id := home.post(billing, map[string]any{"n": 1})
	other := home.post(billing, map[string]any{"n": 2})
	home.status(id, "DELIVERED")
	home.status(other, "DELIVERED")
	if a := holder.call("POST", "/v1/inbox/"+id+"/reply?owner_agent="+billing, `{"message": "looking at it"}`); a.code != http.StatusOK {
		t.Fatal(a)
	}
	holder.kill()
	holder.start()
	home.status(id, "IN_PROGRESS")
	th := holder.thread(id, billing)
	if th.Status != "active" || len(th.Timeline) != 2 || th.Timeline[1].Details.Message != "looking at it" {
		t.Errorf("after the kill the thread is %+v", th)
	}
	for verb, one := range map[string]string{"approve": id, "reject": other} {
		if a := holder.call("POST", "/v1/inbox/"+one+"/"+verb+"?owner_agent="+billing, `{"comment": "as agreed"}`); a.code != http.StatusOK {
			t.Fatal(a)
		}
	}
	holder.kill()
	home.kill()
	home.start()
	holder.start()
	home.status(id, "COMPLETED")
	home.status(other, "CANCELED")
	for one, end := range map[string]string{id: "COMPLETED", other: "CANCELED"} {
		if err := legal(home.events(one), end); err != nil {
			t.Error(err)
		}
		if th := holder.thread(one, billing); th.Status != "done" || th.Decision.By != billing {
			t.Errorf("the thread of %s is %+v", one, th)
		}
	}
	if got := holder.inbox(billing); len(got) != 2 {
		t.Errorf("the inbox has %v, want both", got)
	}
}

// TestInboxConformance asks what AXP's conformance suite asks of inboxes and approvals,
// of an inbox that is read by whoever has sent something.
func TestInboxConformance(t *testing.T) {
	t.Parallel()
	spec := apitest.NeedAXP(t)
	const owner = "agent://conformance/owner"
	s := start(t, setup{name: "alone", agents: []string{billing}})
	for range 3 {
		id := s.post("agent://conformance/receiver", map[string]any{}, map[string]any{"from_agent": owner})
		s.call("POST", "/v1/intents/"+id+"/resolve", `{"status": "COMPLETED", "result": {}}`)
	}
	scope := "?owner_agent=" + owner
	fits := func(name string, a answer) answer {
		t.Helper()
		if a.code != http.StatusOK {
			t.Errorf("%s: %v", name, a)
		} else if err := spec.Check("public_api/api."+name+".response.v1", a.body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return a
	}
	first := func() string {
		t.Helper()
		var list struct{ Threads []threadView }
		fits("inbox.list", s.call("GET", "/v1/inbox"+scope, nil)).into(t, &list)
		if len(list.Threads) != 3 {
			t.Fatalf("the inbox has %d threads, want 3", len(list.Threads))
		}
		return list.Threads[0].ID
	}
	act := func(name, verb, body string) {
		t.Helper()
		id := first()
		var got struct{ Thread threadView }
		fits(name, s.call("POST", "/v1/inbox/"+id+"/"+verb+scope, body)).into(t, &got)
		if got.Thread.ID != id {
			t.Errorf("%s of %s answers with %s", verb, id, got.Thread.ID)
		}
	}
	fits("inbox.thread", s.call("GET", "/v1/inbox/"+first()+scope, nil))
	act("inbox.thread", "reply", `{"message": "conformance"}`)
	var seen []string
	for cursor, more := "", true; more; {
		var page struct {
			Changes []struct {
				Cursor string
				Thread threadView
			}
			Next string `json:"next_cursor"`
			More bool   `json:"has_more"`
		}
		fits("inbox.changes", s.call("GET", "/v1/inbox/changes"+scope+"&limit=1&cursor="+cursor, nil)).into(t, &page)
		for _, c := range page.Changes {
			seen = append(seen, c.Thread.ID)
		}
		cursor, more = page.Next, page.More
	}
	if len(seen) != 3 || seen[2] != first() {
		t.Errorf("changes page through %v, want each thread once and the one replied to last", seen)
	}
	act("inbox.thread", "delegate", `{"delegate_to": "agent://conformance/delegate", "note": "please"}`)
	act("inbox.thread", "approve", `{"comment": "fine"}`)
	act("inbox.messages.delete", "messages/delete", `{"mode": "self", "limit": 1}`)
	fits("approvals.decision", s.call("POST", "/v1/approvals/5f64ea0d-97ef-4c18-a1ad-4f1fd2b4a6dd/decision", `{"decision": "approve", "comment": "fine"}`))
	told := s.post("agent://conformance/receiver", map[string]any{}, map[string]any{"from_agent": owner, "reply_to": "agent://conformance/reply"})
	s.call("POST", "/v1/intents/"+told+"/resolve", `{"status": "COMPLETED", "result": {}}`)
	if got := s.inbox("agent://conformance/reply"); fmt.Sprint(got) != fmt.Sprint([]string{told}) {
		t.Errorf("told is %v, want %s at once", got, told)
	}
}
