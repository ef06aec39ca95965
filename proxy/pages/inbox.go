package pages

import (
	"net/http"
	"net/url"
	"time"
)

// inboxTask is one in the list of what is to be decided.
type inboxTask struct {
	ID         string     `json:"intent_id"`
	Type       string     `json:"intent_type"`
	From       string     `json:"from_agent"`
	AssignedAt time.Time  `json:"assigned_at"`
	DueAt      time.Time  `json:"due_at"`
	Task       *humanTask `json:"human_task"`
}

const inboxPageSize = "50"

func (s *server) inbox(w http.ResponseWriter, r *http.Request, v *visitor) error {
	query := url.Values{"limit": {inboxPageSize}}
	if after := r.URL.Query().Get("cursor"); after != "" {
		query.Set("cursor", after)
	}
	var got struct{ Tasks []inboxTask }
	header, err := s.app(r, v, request{method: http.MethodGet, path: "/v1/me/tasks", query: query, into: &got})
	if err != nil {
		return err
	}
	show(w, r, http.StatusOK, inboxPage(v, got.Tasks, header.Get("Pannier-Next-Cursor")))
	return nil
}

// urgent is how a due time is to be read: one that is near needs a word beside its colour.
func urgent(due, now time.Time) string {
	switch left := due.Sub(now); {
	case due.IsZero():
		return ""
	case left <= 0:
		return "overdue"
	case left < 24*time.Hour:
		return "soon"
	}
	return ""
}
