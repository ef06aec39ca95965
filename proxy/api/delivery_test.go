package api_test

import (
	"context"
	"testing"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/proxy/api"
)

// dead makes a dead letter of an intent accepted here.
func (w *world) dead(to string) string {
	w.t.Helper()
	id := w.intent(to)
	parsed, err := journal.ParseID(id)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.journal.Refuse(context.Background(), parsed, 1, state.ReasonTooLarge, "larger than any sidecar takes"); err != nil {
		w.t.Fatal(err)
	}
	return id
}

func TestDeadLettersAreDeliveries(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id, open := w.dead("agent://acme/prod/billing"), w.intent("agent://acme/prod/billing")
	other := w.dead("agent://acme/test/billing")

	list := w.get("/v1/deliveries?status=dead_lettered").want(200)
	if got := len(list.list("deliveries")); got != 2 {
		t.Fatalf("%d dead letters, want 2: %s", got, list.raw)
	}
	one := w.get("/v1/deliveries/" + id).want(200)
	for path, want := range map[string]string{
		"delivery.delivery_id": id, "delivery.status": "dead_lettered", "delivery.principal_id": "agent://acme/prod/billing",
		"delivery.error_detail": "too_large: larger than any sidecar takes", "delivery.replay_of_delivery_id": "",
	} {
		if got := one.text(path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	for _, row := range []struct {
		query string
		want  []string
	}{
		{"", []string{other, open, id}},
		{"?status=submitted", []string{open}},
		{"?status=dead_lettered&principal_id=acme/test/billing", []string{other}},
		{"?status=dead_lettered&workspace_id=" + one.text("delivery.workspace_id"), []string{id}},
		{"?status=dead_lettered&workspace_id=" + id, nil},
		{"?org_id=" + one.text("delivery.org_id") + "&limit=1", []string{other}},
	} {
		a := w.get("/v1/deliveries" + row.query).want(200)
		got := a.list("deliveries")
		if len(got) != len(row.want) {
			t.Errorf("%q: got %d, want %d: %s", row.query, len(got), len(row.want), a.raw)
			continue
		}
		for i := range got {
			if g := walk(got[i], "delivery_id"); g != row.want[i] {
				t.Errorf("%q, %d: got %v, want %s", row.query, i, g, row.want[i])
			}
		}
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.dead("agent://acme/prod/billing")
	a := w.post("/v1/deliveries/"+id+"/replay", "", "Idempotency-Key: again").want(200)
	next := a.text("delivery.delivery_id")
	if next == id || a.text("delivery.replay_of_delivery_id") != id || a.text("delivery.status") != "submitted" {
		t.Errorf("replayed: %s", a.raw)
	}
	again := w.post("/v1/deliveries/"+id+"/replay", "", "Idempotency-Key: again").want(200)
	if again.text("delivery.delivery_id") != next || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the same key again: %s", again.raw)
	}
	refused := w.post("/v1/deliveries/"+id+"/replay", "").refused(409, "already_redriven")
	if got := refused.text("error.details.redriven_as"); got != next {
		t.Errorf("the refusal names %q, want %s", got, next)
	}
	if got := w.get("/v1/intents/" + id).text("intent.redriven_as"); got != next {
		t.Errorf("the original shows redriven_as %q", got)
	}
	if got := w.get("/v1/intents/" + next).text("intent.redrive_of"); got != id {
		t.Errorf("the successor shows redrive_of %q", got)
	}
	pulled := w.get("/v1/agents/acme/prod/billing/intents").want(200)
	if pulled.text("intents.0.intent_id") != next || pulled.text("intents.0.idempotency_key") != id || pulled.text("intents.0.redelivered") != "false" {
		t.Errorf("the app sees %s, want the first ancestor's id as its key", pulled.raw)
	}
	w.post("/v1/deliveries/"+next+"/replay", "").refused(409, "not_dead_letter")
	w.post("/v1/deliveries/"+journal.NewID().String()+"/replay", "").refused(404, "intent_not_found")
}

// TestReplayAtHolder: the successor is its home's, and may not be here yet.
func TestReplayAtHolder(t *testing.T) {
	t.Parallel()
	as := journal.NewID()
	w := setup(t, func(o *api.Options) {
		o.Redrive = func(context.Context, journal.Redrive) (journal.Redriven, error) {
			return journal.Redriven{ID: as, CreatedAt: as.Time()}, nil
		}
	})
	home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	id := w.held(home, "agent://acme/prod/billing")
	verdict := []journal.Verdict{{ID: id, OfferNo: 1, Ended: true, Status: state.TimedOut, Reason: state.ReasonDeliverBy}}
	if err := w.journal.Revoke(t.Context(), home.Journal, verdict); err != nil {
		t.Fatal(err)
	}
	if got := w.get("/v1/deliveries/" + id.String()).text("delivery.status"); got != "dead_lettered" {
		t.Errorf("the holder's copy is %s", got)
	}
	a := w.post("/v1/deliveries/"+id.String()+"/replay", "").want(200)
	if a.text("delivery.delivery_id") != as.String() || a.text("delivery.replay_of_delivery_id") != id.String() || a.text("delivery.status") != "submitted" {
		t.Errorf("replayed: %s", a.raw)
	}
}

func TestRefusalsOfDeliveries(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, row := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"POST", "/v1/deliveries", 404, "route_not_found"},
		{"POST", "/v1/deliveries/reconcile", 404, "route_not_found"},
		{"GET", "/v1/deliveries-operations", 404, "route_not_found"},
		{"POST", "/v1/routing/endpoints", 404, "route_not_found"},
		{"GET", "/v1/transports/bindings", 404, "route_not_found"},
		{"POST", "/v1/principals", 404, "route_not_found"},
		{"POST", "/v1/aliases", 404, "route_not_found"},
		{"GET", "/v1/deliveries?status=lost", 422, "schema_invalid"},
		{"GET", "/v1/deliveries?limit=0", 422, "schema_invalid"},
		{"GET", "/v1/deliveries?org_id=acme", 422, "schema_invalid"},
		{"GET", "/v1/deliveries?principal_id=a%20b", 422, "invalid_agent_address"},
		{"GET", "/v1/deliveries/none", 404, "intent_not_found"},
	} {
		w.call(row.method, row.path, "").refused(row.status, row.code)
	}
}
