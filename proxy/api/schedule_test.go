package api_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pannier/proxy/api"
)

const nightly = `{"name":"nightly","cron":"30 2 * * *","intent":{"intent_type":"ledger.close.v1","to_agent":"acme/billing","payload":{"n": 1.50}}}`

func TestScheduleIsKeptAsItWasMade(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.post("/v1/schedules", nightly, "Idempotency-Key: k").want(200)
	id := a.text("schedule.schedule_id")
	for at, want := range map[string]string{"name": "nightly", "cron": "30 2 * * *", "time_zone": "UTC", "misfire": "once", "overlap": "allow", "paused": "false", "to_agent": "agent://acme/billing"} {
		if got := a.text("schedule." + at); got != want {
			t.Errorf("%s is %q, want %q", at, got, want)
		}
	}
	if again := w.post("/v1/schedules", nightly, "Idempotency-Key: k").want(200); again.text("schedule.schedule_id") != id || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("under its key it is another: %s", again.raw)
	}
	one := w.get("/v1/schedules/" + id + "?next=3").want(200)
	if next := one.list("next"); len(next) != 3 || next[0] != one.text("schedule.next_at") || !strings.HasSuffix(next[2].(string), "T02:30:00.000Z") {
		t.Errorf("it is due at %v", next)
	}
	if !strings.Contains(string(one.raw), `{"n": 1.50}`) {
		t.Errorf("its intent is not as it was given: %s", one.raw)
	}
	if p := w.post("/v1/schedules/"+id+"/pause", "").want(200); p.text("schedule.paused") != "true" || p.at("schedule.next_at") != nil {
		t.Errorf("paused: %s", p.raw)
	}
	if p := w.post("/v1/schedules/"+id+"/resume", "").want(200); p.text("schedule.paused") != "false" || p.text("schedule.next_at") != a.text("schedule.next_at") {
		t.Errorf("resumed: %s", p.raw)
	}
	if l := w.get("/v1/schedules").want(200); len(l.list("schedules")) != 1 {
		t.Errorf("there are %s", l.raw)
	}
	w.call("DELETE", "/v1/schedules/"+id, "").want(200)
	for _, method := range []string{"GET", "DELETE"} {
		w.call(method, "/v1/schedules/"+id, "").refused(404, "schedule_not_found")
	}
	w.post("/v1/schedules", nightly, "Idempotency-Key: k").refused(404, "schedule_not_found")
	w.post("/v1/schedules/none/pause", "").refused(404, "schedule_not_found")
	if l := w.get("/v1/schedules").want(200); len(l.list("schedules")) != 0 {
		t.Errorf("it is still there: %s", l.raw)
	}
}

func TestScheduleRefusals(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for name, c := range map[string]struct{ was, is, where string }{
		"no time":            {`"cron":"30 2 * * *",`, ``, "/cron"},
		"two times":          {`"cron"`, `"every_seconds":5,"cron"`, "/cron"},
		"no cron expression": {`30 2`, `30 25`, "/cron"},
		"never":              {`30 2 * * *`, `30 2 31 2 *`, "/cron"},
		"a zone of no name":  {`"cron"`, `"time_zone":"Mars/Olympus","cron"`, "/cron"},
		"a zone of seconds":  {`"cron":"30 2 * * *"`, `"every_seconds":5,"time_zone":"UTC"`, "/time_zone"},
		"too often":          {`"cron":"30 2 * * *"`, `"every_seconds":0`, "/every_seconds"},
		"misfire":            {`"cron"`, `"misfire":"twice","cron"`, "/misfire"},
		"overlap":            {`"cron"`, `"overlap":"no","cron"`, "/overlap"},
		"unknown field":      {`"name"`, `"nmae"`, "/nmae"},
		"no intent":          {`"intent":{`, `"intent":null,"paused":true}{`, ""},
		"its intent":         {`"to_agent"`, `"to"`, "/intent/to_agent"},
		"its key":            {`"intent_type"`, `"idempotency_key":"k","intent_type"`, "/intent/idempotency_key"},
		"one time":           {`"payload"`, `"delivery":{"deliver_by":"2030-01-01T00:00:00Z"},"payload"`, "/intent/delivery/deliver_by"},
		"one deadline":       {`"payload"`, `"deadline_at":"2030-01-01T00:00:00Z","payload"`, "/intent/deadline_at"},
		"its size":           {`1.50`, `"` + strings.Repeat("x", 64<<10) + `"`, ""},
	} {
		a := w.post("/v1/schedules", strings.Replace(nightly, c.was, c.is, 1))
		if a.status/100 != 4 {
			t.Errorf("%s: got %d: %s", name, a.status, a.raw)
		} else if details, _ := a.at("error.details").(map[string]any); c.where != "" && details[c.where] == nil {
			t.Errorf("%s: %s is not named: %s", name, c.where, a.raw)
		}
	}
	if l := w.get("/v1/schedules").want(200); len(l.list("schedules")) != 0 {
		t.Errorf("a refusal made %s", l.raw)
	}
}

// Each intent of a schedule asks for the approvals of its own, with their reminders, and
// goes when they are given.
func TestScheduleWithGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := openJournal(t)
		m := &mailbox{j: j}
		say := direct(t, api.New(api.Options{}, j, m, &dispatcher{}, slog.New(slog.DiscardHandler)))
		gated := strings.Replace(nightly, `"cron":"30 2 * * *"`, `"every_seconds":60`, 1)
		gated = strings.Replace(gated, `"payload"`, `"delivery":{"gates":[{"to":"agent://acme/manager","remind_after_seconds":5,"max_reminders":1,"escalate_to":"agent://acme/boss"},"agent://acme/finance"]},"payload"`, 1)
		id := say("POST", "/v1/schedules", gated).want(200).text("schedule.schedule_id")
		time.Sleep(121 * time.Second)
		runs := say("GET", "/v1/schedules/"+id, "").want(200).list("schedule.runs")
		if len(runs) != 2 {
			t.Fatalf("there are %d runs, want 2", len(runs))
		}
		first := runs[1].(map[string]any)["intent_id"].(string)
		if boss := say("GET", "/v1/inbox?owner_agent=agent://acme/boss", "").want(200).list("threads"); len(boss) != 1 {
			t.Errorf("the boss has %d threads, want the first approval", len(boss))
		}
		for _, who := range []string{"manager", "finance"} {
			i := say("GET", "/v1/intents/"+first, "").want(200)
			if i.text("intent.pending_with.name") != "agent://acme/"+who {
				t.Fatalf("it waits for %s, want %s: %s", i.text("intent.pending_with.name"), who, i.raw)
			}
			say("POST", "/v1/intents/"+i.text("intent.pending_with.ref")+"/resume", `{"task_result":{"outcome":"approved"}}`).want(200)
		}
		for n, want := range map[int]string{0: "asked", 1: "approved"} {
			i := say("GET", "/v1/intents/"+runs[n].(map[string]any)["intent_id"].(string), "").want(200)
			if i.text("intent.gates.0.status") != want {
				t.Errorf("the gates of run %d are %s, want %s", n, i.raw, want)
			}
		}
		say("DELETE", "/v1/schedules/"+id, "").want(200)
	})
}
