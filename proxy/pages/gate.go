package pages

import (
	"encoding/json"
	"net/http"
)

// gate is an approval that an intent waits for, or has had.
type gate struct {
	To     string `json:"to"`
	Status string `json:"status"`
	Task   string `json:"intent_id"` // empty: nobody is asked yet
	By     string `json:"decided_by"`
}

// whole is the intent that a task is a part of, such as one that waits for its approval.
type whole struct {
	ID, Type, To string
	Gates        []gate // empty where it is out of reach, or has no others
}

// readWhole has the page of a part show what it is a part of: the payload of that, not a
// payload around it, and who else is asked.
func (s *server) readWhole(r *http.Request, v *visitor, t *taskView) {
	members, ok := orderedMembers(t.Intent.Payload)
	if t.Intent.Parent == "" || !ok || len(members) != 2 || members[0].name != "parent_payload" || members[1].name != "parent" {
		return
	}
	var of intent
	if json.Unmarshal(members[1].value, &of) != nil || of.ID != t.Intent.Parent {
		return // it is made by somebody else: a payload like any other
	}
	t.Payload = showPayload(members[0].value)
	t.Whole = &whole{ID: of.ID, Type: of.Type, To: of.To}
	var got struct{ Intent intent }
	if _, err := s.app(r, v, request{method: http.MethodGet, path: intentPath(of.ID, ""), into: &got}); err == nil {
		t.Whole.Gates = got.Intent.Gates // or it is not for this visitor: the task can be decided without
	}
}

// gateWords say how an approval stands.
var gateWords = map[string]string{
	"approved": "✓ Approved", "refused": "✕ Refused", "expired": "✕ Not decided in time", "asked": "◔ Asked", "not_asked": "○ Asked after that", "not_needed": "– Not needed",
}

// standing is how an approval stands, and who said so where that was another.
func (g gate) standing() string {
	said, known := gateWords[g.Status]
	if !known {
		said = words(g.Status)
	}
	if g.By != "" && g.By != g.To {
		said += " by " + short(g.By)
	}
	return said
}

func (g gate) open() bool { return g.Status == "asked" || g.Status == "not_asked" }
