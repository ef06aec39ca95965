package admin_test

import (
	"context"
	"strings"
	"testing"

	"pannier/inbound"
	"pannier/proxy/admin"
)

// agents remembers what was set; the one agent there is takes any binding but fax.
type agents struct{ set []string }

func (a *agents) Agents() []admin.AgentStatus {
	return []admin.AgentStatus{{Agent: billing, Served: "configured", Binding: "open"}}
}

func (a *agents) SetBinding(_ context.Context, agent, binding string) error {
	switch {
	case binding == "fax":
		return &admin.BindingError{Why: `"fax" is not a binding`}
	case agent != billing:
		return inbound.ErrNotServed
	}
	a.set = append(a.set, binding)
	return nil
}

func TestAgents(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if a := w.ask("GET", "/v1/admin/agents"); a.Code != 200 || !strings.Contains(a.Body.String(), `"binding":"open"`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	for _, row := range []struct {
		body string
		code int
		want string
	}{
		{`{"agent":"` + billing + `","binding":"poll"}`, 200, `"agents":[`},
		{`{"agent":"` + billing + `","binding":"fax"}`, 422, "is not a binding"},
		{`{"agent":"agent://acme/prod/shop","binding":"poll"}`, 404, "agent_not_found"},
		{`{"agent":"` + billing + `","mode":"poll"}`, 400, "invalid_json"},
		{``, 400, "invalid_json"},
	} {
		if a := w.send("/v1/admin/agents/set", row.body); a.Code != row.code || !strings.Contains(a.Body.String(), row.want) {
			t.Errorf("%s: %d %s, want %d and %s", row.body, a.Code, a.Body, row.code, row.want)
		}
	}
	if len(w.agents.set) != 1 || w.agents.set[0] != "poll" {
		t.Errorf("set %v, want poll alone", w.agents.set)
	}
}
