package api

import (
	"errors"
	"net/http"
	"time"
	"unicode/utf8"

	"pannier/journal"
	"pannier/journal/wire"
)

const maxApprovalComment = 1000 // characters

// notApplied is the header of a decision that is kept and changes nothing here.
const notApplied = "Pannier-Applied"

// decisions are the words for a decision: AXP's, and those of its prose.
var decisions = map[string]string{"approve": journal.Approve, "approved": journal.Approve, "reject": journal.Reject, "rejected": journal.Reject}

// approve serves POST /v1/approvals/{id}/decision: of an open task or thread, whose
// approval id is its own; of any other id it is kept, as AXP's clients expect. An id that
// could be one of ours, made in the order of time, and is not, was mistyped: that is 404.
func (a *API) approve(w http.ResponseWriter, r *http.Request) error {
	id, err := journal.ParseID(r.PathValue("id"))
	if err != nil {
		return refuse(codeThreadNotFound, "%q is no approval: an id is a UUID", clip(r.PathValue("id"), 64))
	}
	in, err := a.readAct(w, r, journal.ThreadDecide)
	if errors.Is(err, journal.ErrNoThread) {
		if id[6]>>4 == 7 {
			return refuse(codeThreadNotFound, "no approval %s is asked for at this sidecar", id)
		}
		return a.keepApproval(w, r, id)
	}
	if err != nil {
		return err
	}
	decision := readApproval(in.body)
	if err := faultsOf(*in.faults); err != nil {
		return err
	}
	if err := a.readThreadDecision(in, r, decision); err != nil {
		return err
	}
	if err := faultsOf(*in.faults); err != nil {
		return err
	}
	done, err := a.journal.ActOnThread(r.Context(), id, in.ThreadAct)
	if err != nil {
		return err
	}
	if done.Applied && done.Answered.Provisional {
		if _, _, err := a.awaitVerdict(r.Context(), id, *in.Word); err != nil {
			return err
		}
	}
	if !done.Applied {
		w.Header().Set(notApplied, "false")
	}
	return answerApproval(w, id, done.Thread.Decision, done.Replayed)
}

func readApproval(body *object) string {
	text := body.required("decision", maxOutcome)
	decision, known := decisions[text]
	if text != "" && !known {
		body.fault("decision", codeSchemaInvalid, "must be approve or reject")
	}
	if n := utf8.RuneCountInString(body.text("comment", utf8.UTFMax*maxApprovalComment)); n > maxApprovalComment {
		body.fault("comment", codeSchemaInvalid, "has %d characters; the limit is %d", n, maxApprovalComment)
	}
	return decision
}

func (a *API) keepApproval(w http.ResponseWriter, r *http.Request, id journal.ID) error {
	in, err := a.readWordBody(w, r, a.opt.MaxBody)
	if err != nil {
		return err
	}
	d := &wire.Decision{Decision: readApproval(in.body), Comment: in.body.text("comment", utf8.UTFMax*maxApprovalComment), Actor: speaker(r, someApp)}
	if err := faultsOf(*in.faults); err != nil {
		return err
	}
	kept, replayed, err := a.journal.RecordApproval(r.Context(), id, d, in.key)
	if err != nil {
		return err
	}
	w.Header().Set(notApplied, "false")
	return answerApproval(w, id, kept, replayed)
}

// answerApproval has AXP's four members and no other.
func answerApproval(w http.ResponseWriter, id journal.ID, s *wire.Decision, replayed bool) error {
	markReplayed(w, replayed)
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("approval").open('{').str("approval_id", id.String()).str("decision", s.Decision)
	if s.Comment == "" {
		d.null("comment")
	} else {
		d.str("comment", s.Comment)
	}
	return answer(w, d.time("decided_at", time.UnixMilli(s.AtMs)).close('}').close('}'))
}
