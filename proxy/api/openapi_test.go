package api_test

import (
	"slices"
	"strings"
	"testing"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/proxy/api"
	"pannier/proxy/api/apitest"
)

func description(t *testing.T) *apitest.Description {
	t.Helper()
	d, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestEveryRouteIsDescribed: what is served is in openapi.yaml, and the other
// way round.
func TestEveryRouteIsDescribed(t *testing.T) {
	t.Parallel()
	served, described := api.Routes(setup(t).api), description(t).Routes()
	for _, r := range served {
		if !slices.Contains(described, r) {
			t.Errorf("%s is served, and openapi.yaml does not describe it", r)
		}
	}
	for _, r := range described {
		if !slices.Contains(served, r) {
			t.Errorf("%s is in openapi.yaml, and not served", r)
		}
	}
}

// TestListsAreTheTables: the enums of the description are the tables of the
// code, in their order.
func TestListsAreTheTables(t *testing.T) {
	t.Parallel()
	var codes, causes, statuses []string
	for _, e := range api.Codes() {
		codes = append(codes, e.Code)
	}
	for _, c := range state.Causes() {
		causes = append(causes, c.String())
	}
	for _, s := range state.Statuses() {
		statuses = append(statuses, s.String())
	}
	for schema, want := range map[string][]string{"ErrorCode": codes, "CauseCode": causes, "Status": statuses} {
		if got := description(t).Enum(schema); !slices.Equal(got, want) {
			t.Errorf("openapi.yaml, %s: the list must be\n        - %s\nit is\n        - %s", schema,
				strings.Join(want, "\n        - "), strings.Join(got, "\n        - "))
		}
	}
}

// TestExamplesAreTaken: every request that is shown can be sent as it is. Those
// about an intent are about one that is not there, and are refused for nothing else.
func TestExamplesAreTaken(t *testing.T) {
	t.Parallel()
	w := setup(t)
	examples, err := description(t).Examples()
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for _, e := range examples {
		described[e.Method+" "+e.Path] = true
		path := strings.NewReplacer("{id}", journal.NewID().String(), "{agent}", "acme/prod/billing", "{type}", "order.created.v1").Replace(e.Path)
		a := w.call(e.Method, path, string(e.Body), "Content-Type: "+e.Media)
		if a.status != 200 && !strings.HasSuffix(a.text("error.code"), "_not_found") {
			t.Errorf("%s: got %d: %s", e.Name, a.status, a.raw)
		}
	}
	for _, r := range description(t).Bodies() {
		if !described[r] {
			t.Errorf("%s has no example of its body", r)
		}
	}
}

func TestDescriptionIsServed(t *testing.T) {
	t.Parallel()
	a := setup(t).get("/openapi.json").want(200)
	if a.text("openapi") != "3.1.0" || a.text("info.title") != "Pannier app API" || a.at("paths./v1/intents.post") == nil {
		t.Errorf("it is not the description: %.300s", a.raw)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
}

// TestAnswersAreAXPs is skipped where AXP's schemas are not at hand; where they are,
// every exchange of all tests is held to them, this one as well.
func TestAnswersAreAXPs(t *testing.T) {
	t.Parallel()
	axp := apitest.NeedAXP(t)
	w := setup(t)
	a := w.post("/v1/intents", `{"intent_type":"order.created.v1","correlation_id":"0193f0c0-0000-7000-8000-000000000001","to_agent":"agent://acme/prod/billing","payload":{}}`).want(200)
	for name, text := range map[string][]byte{
		"public_api/api.intents.create.response.v1":      a.raw,
		"public_api/api.intents.get.response.v1":         w.get("/v1/intents/" + a.text("intent_id")).raw,
		"public_api/api.intents.events.list.response.v1": w.get("/v1/intents/" + a.text("intent_id") + "/events").raw,
		"public_api/api.intents.resolve.response.v1":     w.resolve(a.text("intent_id"), `{"status":"COMPLETED","result":{}}`).raw,
	} {
		if err := axp.Check(name, text); err != nil {
			t.Errorf("%v: %s", err, text)
		}
	}
	if err := axp.Check("public_api/api.intents.create.response.v1", []byte(`{"ok":true}`)); err == nil {
		t.Error("an answer without an id is AXP's")
	}
}
