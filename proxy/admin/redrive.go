package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/proxy/api"
)

const (
	defaultRate = 50 // redrives per second
	maxRate     = 1000
	defaultMany = 100
	maxMany     = 1000
	// maxAsked bounds a request body here: a payload and what is around it.
	maxAsked = 2 << 20
	maxActor = 255
)

// readAsked reads a body of the shape of v; an empty one leaves v as it is.
func readAsked(w http.ResponseWriter, r *http.Request, v any, shape string) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAsked))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		refuse(w, http.StatusBadRequest, "invalid_json", "the body is "+shape+": "+err.Error())
		return false
	}
	return true
}

type redriven struct {
	ID         string `json:"intent_id"`
	RedrivenAs string `json:"redriven_as"`
}

// PayloadError says why an edited payload does not fit the schema of its type.
type PayloadError struct{ Why string }

func (e *PayloadError) Error() string { return "payload: " + e.Why }

// redriveOne serves POST /v1/admin/dead-letters/{id}/redrive. Whoever has lost the
// answer asks again: under the same Idempotency-Key it is answered like the first
// time, and without one the refusal names the successor.
func (h *handler) redriveOne(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Payload   json.RawMessage `json:"payload"`
		ToAgent   string          `json:"to_agent"`
		DeliverBy time.Time       `json:"deliver_by"`
		Actor     string          `json:"actor"`
	}
	if !readAsked(w, r, &asked, `{} or {"payload": OBJECT, "to_agent": ADDRESS, "deliver_by": TIME, "actor": TEXT}`) {
		return
	}
	id, err := journal.ParseID(r.PathValue("id"))
	if err != nil {
		h.refuseDead(w, journal.ErrNotFound)
		return
	}
	key, err := api.OperatorKey(r, asked)
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	wish := journal.Redrive{ID: id, Payload: asked.Payload, DeliverBy: asked.DeliverBy, Actor: actor(asked.Actor), Key: key}
	if asked.Payload != nil {
		if err := api.Payload(asked.Payload); err != nil {
			refuse(w, http.StatusUnprocessableEntity, "schema_invalid", "payload: "+err.Error())
			return
		}
	}
	if asked.ToAgent != "" {
		if wish.ToAgent, err = api.Address(asked.ToAgent); err != nil {
			refuse(w, http.StatusUnprocessableEntity, "invalid_agent_address", "to_agent: "+err.Error())
			return
		}
	}
	if !asked.DeliverBy.IsZero() && !asked.DeliverBy.After(time.Now()) {
		refuse(w, http.StatusUnprocessableEntity, "schema_invalid", "deliver_by: must be in the future")
		return
	}
	got, err := h.DeadLetters.Redrive(r.Context(), wish)
	if err != nil {
		h.refuseDead(w, err)
		return
	}
	if got.Replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	} else {
		h.log.Info("dead letter redriven", "intent_id", id.String(), "redriven_as", got.ID.String(), "actor", wish.Actor, "remote", r.RemoteAddr)
	}
	Write(w, http.StatusOK, struct {
		OK        bool      `json:"ok"`
		ID        string    `json:"intent_id"` // of the successor
		RedriveOf string    `json:"redrive_of"`
		CreatedAt time.Time `json:"created_at"`
	}{true, got.ID.String(), id.String(), got.CreatedAt.UTC()})
}

func actor(given string) string {
	if given == "" {
		return operator
	}
	return given[:min(len(given), maxActor)]
}

type manyAnswer struct {
	OK       bool         `json:"ok"`
	Redriven []redriven   `json:"redriven"`
	Failed   []deadFailed `json:"failed"`
	Until    *time.Time   `json:"until,omitempty"` // the filter's; give it back with the cursor
	Next     *string      `json:"next_cursor"`
}

type deadFailed struct {
	ID      string `json:"intent_id"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// redriveMany serves POST /v1/admin/dead-letters/redrive: a successor for each of
// those given that has none, one commit each, at a rate. A filter means none of which what was sent is
// lost. One call does a bounded
// number; next_cursor is where the next call goes on. If the caller hangs up it
// stops; what has been done stays done, and a repeat passes it over.
func (h *handler) redriveMany(w http.ResponseWriter, r *http.Request) {
	asked := struct {
		selection
		Rate   int    `json:"rate_per_second"`
		Limit  int    `json:"limit"`
		Cursor string `json:"cursor"`
		Actor  string `json:"actor"`
		DryRun bool   `json:"dry_run"`
	}{Rate: defaultRate, Limit: defaultMany}
	if !readAsked(w, r, &asked, `{"ids": [ID, …]} or {"filter": {…}}, with rate_per_second, limit, cursor, actor, dry_run`) {
		return
	}
	ids, f, err := asked.read(time.Now())
	switch {
	case err != nil:
	case asked.Rate < 1 || asked.Rate > maxRate:
		err = fmt.Errorf("rate_per_second: must be from 1 to %d", maxRate)
	case asked.Limit < 1 || asked.Limit > maxMany:
		err = fmt.Errorf("limit: must be from 1 to %d", maxMany)
	case asked.Cursor != "":
		if f.After, err = journal.ParseDeadCursor(asked.Cursor); err != nil {
			err = errors.New("cursor: must be the next_cursor of an earlier answer")
		}
	}
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, "schema_invalid", err.Error())
		return
	}
	f.Unredriven, f.Whole = true, true
	if asked.DryRun {
		h.wouldRedrive(w, ids, f)
		return
	}
	out := manyAnswer{OK: true, Redriven: []redriven{}, Failed: []deadFailed{}}
	if ids == nil {
		until := f.Until.UTC()
		out.Until = &until
		if ids, err = h.collect(&f, asked.Limit); err != nil {
			h.refuseDead(w, err)
			return
		}
		if !f.After.IsZero() {
			next := f.After.String()
			out.Next = &next
		}
	}
	h.redriveAt(r.Context(), asked.Rate, ids, actor(asked.Actor), &out)
	h.log.Info("dead letters redriven", "redriven", len(out.Redriven), "failed", len(out.Failed), "actor", actor(asked.Actor), "remote", r.RemoteAddr)
	Write(w, http.StatusOK, out)
}

type wouldAnswer struct {
	OK      bool         `json:"ok"`
	Matched int          `json:"matched"`
	More    bool         `json:"more"`   // there are more than are counted
	Failed  []deadFailed `json:"failed"` // no dead letters
	Until   *time.Time   `json:"until,omitempty"`
	Sample  []deadLetter `json:"sample"`
}

// wouldRedrive says how many it would be, and shows a few.
func (h *handler) wouldRedrive(w http.ResponseWriter, ids []journal.ID, f journal.DeadFilter) {
	out := wouldAnswer{OK: true}
	if ids == nil {
		until := f.Until.UTC()
		out.Until = &until
		var err error
		if ids, err = h.collect(&f, purgeMost); err != nil {
			h.refuseDead(w, err)
			return
		}
		out.More = !f.After.IsZero()
	}
	out.Matched = len(ids)
	out.Sample, out.Failed = h.sample(ids)
	Write(w, http.StatusOK, out)
}

// redriveAt redrives one after the other, rate of them a second. A home that cannot
// be reached is asked once.
func (h *handler) redriveAt(ctx context.Context, rate int, ids []journal.ID, actor string, out *manyAnswer) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	away := map[string]bool{}
	for i, id := range ids {
		if i > 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return // nobody reads what would be answered
			}
		}
		d, err := h.DeadLetters.DeadLetter(id)
		if err == nil && d.Head == nil && away[string(d.Handover.Home)] {
			err = inbound.ErrHomeUnreachable
		}
		var got journal.Redriven
		if err == nil {
			got, err = h.DeadLetters.Redrive(ctx, journal.Redrive{ID: id, Actor: actor})
		}
		if err == nil {
			out.Redriven = append(out.Redriven, redriven{id.String(), got.ID.String()})
			continue
		}
		if errors.Is(err, inbound.ErrHomeUnreachable) {
			away[string(d.Handover.Home)] = true
		}
		_, code, text := deadProblem(err)
		out.Failed = append(out.Failed, deadFailed{id.String(), code, text})
	}
}
