package admin

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"pannier/journal"
)

const (
	purgeMost   = 10_000 // dead letters removed by one call
	purgeBatch  = 200    // put to the journal together
	purgeSample = 5
)

type purgeAnswer struct {
	OK      bool         `json:"ok"`
	Matched int          `json:"matched"`
	More    bool         `json:"more"` // there are more than one call removes
	Purged  int          `json:"purged"`
	Failed  []deadFailed `json:"failed"`
	Until   *time.Time   `json:"until,omitempty"` // the filter's: confirm with it, and what dies meanwhile is not meant
	Sample  []deadLetter `json:"sample,omitempty"`
}

// purge serves POST /v1/admin/dead-letters/purge. Nothing is removed until the
// caller has said how many that is: without confirm, or with another number, it is
// told the number and shown a few.
func (h *handler) purge(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		selection
		DryRun  bool   `json:"dry_run"`
		Confirm *int   `json:"confirm"`
		Actor   string `json:"actor"`
	}
	if !readAsked(w, r, &asked, `{"ids": [ID, …]} or {"filter": {…}}, with dry_run or confirm: N, the number of them`) {
		return
	}
	ids, f, err := asked.read(time.Now())
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, "schema_invalid", err.Error())
		return
	}
	out := purgeAnswer{OK: true, Failed: []deadFailed{}}
	if ids == nil {
		until := f.Until.UTC()
		out.Until = &until
		if ids, err = h.collect(&f, purgeMost); err != nil {
			h.refuseDead(w, err)
			return
		}
		out.More = !f.After.IsZero()
	}
	out.Matched = len(ids)
	switch {
	case asked.DryRun:
		out.Sample, out.Failed = h.sample(ids)
		Write(w, http.StatusOK, out)
		return
	case asked.Confirm == nil || *asked.Confirm != len(ids):
		refuse(w, http.StatusConflict, "confirmation_required",
			fmt.Sprintf("confirm: it would remove %d dead letters for good; say \"confirm\": %d to do that, or \"dry_run\": true to see some of them", len(ids), len(ids)))
		return
	}
	for len(ids) > 0 && err == nil {
		n := min(len(ids), purgeBatch)
		err = h.purgeSome(r, ids[:n], actor(asked.Actor), &out)
		ids = ids[n:]
	}
	if out.Purged > 0 {
		h.log.Warn("dead letters purged", "purged", out.Purged, "failed", len(out.Failed), "actor", actor(asked.Actor), "remote", r.RemoteAddr)
	}
	if err != nil {
		h.refuseDead(w, err)
		return
	}
	Write(w, http.StatusOK, out)
}

func (h *handler) purgeSome(r *http.Request, ids []journal.ID, by string, out *purgeAnswer) error {
	errs, err := h.DeadLetters.Purge(r.Context(), ids, by)
	if err != nil {
		return err
	}
	for i, err := range errs {
		if err == nil {
			out.Purged++
			continue
		}
		_, code, text := deadProblem(err)
		out.Failed = append(out.Failed, deadFailed{ids[i].String(), code, text})
	}
	return nil
}

// sample shows a few of what is meant, without their payloads, and which of those before
// them are none.
func (h *handler) sample(ids []journal.ID) (sample []deadLetter, failed []deadFailed) {
	failed = []deadFailed{}
	for _, id := range ids {
		if len(sample) == purgeSample {
			break
		}
		d, err := h.DeadLetters.DeadLetter(id)
		if errors.Is(err, journal.ErrNotFound) || errors.Is(err, journal.ErrNotDead) {
			_, code, text := deadProblem(err)
			failed = append(failed, deadFailed{id.String(), code, text})
			continue
		}
		if err == nil {
			sample = append(sample, h.view(d.Intent, d.Events, d.At, -1))
		}
	}
	return sample, failed
}
