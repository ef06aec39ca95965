package api

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"pannier/journal"
	"pannier/journal/state"
)

const (
	maxThreadMessage = 5000 // characters, by AXP's schema
	maxNote          = 2000
	maxDeleted       = 100
)

// act is an act on a thread as it came.
type act struct {
	*word
	journal.ThreadAct
	thread *journal.Thread
	intent *journal.Intent // nil: it is not here
	owner  string
}

// readAct reads what all acts have in common.
func (a *API) readAct(w http.ResponseWriter, r *http.Request, verb journal.ThreadVerb) (*act, error) {
	th, owner, err := a.openThread(r)
	if err != nil {
		return nil, err
	}
	in, err := a.readWordBody(w, r, a.opt.MaxBody)
	if err != nil {
		return nil, err
	}
	in.id = th.ID
	i, err := a.intentOf(th)
	if err != nil {
		return nil, err
	}
	return &act{
		word: in, thread: th, intent: i, owner: owner,
		ThreadAct: journal.ThreadAct{Verb: verb, Owner: owner, Actor: speaker(r, owner), Key: in.key},
	}, nil
}

// speaker is who acts: the person, or whose inbox it is, as far as the caller has said so.
func speaker(r *http.Request, viewer string) string {
	if c := callerOf(r); c != nil && c.Person != "" {
		return c.Person
	}
	if said := owner(r); said != someApp {
		return said
	}
	if c := callerOf(r); c != nil {
		return c.identity()
	}
	return viewer
}

// act acts, and answers with the thread as it is then.
func (a *API) act(w http.ResponseWriter, r *http.Request, in *act, write func(d *doc, done *journal.ThreadActed)) error {
	if err := faultsOf(*in.faults); err != nil {
		return err
	}
	done, err := a.journal.ActOnThread(r.Context(), in.id, in.ThreadAct)
	if err != nil {
		return err
	}
	if done.Applied && done.Answered.Provisional && endOf(in.Word.Trigger).Terminal() {
		if _, _, err := a.awaitVerdict(r.Context(), in.id, *in.Word); err != nil {
			return err
		}
		if done.Thread, err = a.journal.Thread(in.id); err != nil {
			return err
		}
	}
	markReplayed(w, done.Replayed)
	i, err := a.intentOf(done.Thread)
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("thread")
	a.writeThread(d, done.Thread, in.owner, i)
	if write != nil {
		write(d, &done)
	}
	return answer(w, d.close('}'))
}

// inboxReply serves POST /v1/inbox/{id}/reply. A message lets an intent that waits in an
// inbox go on: it says that somebody is at it.
func (a *API) inboxReply(w http.ResponseWriter, r *http.Request) error {
	in, err := a.readAct(w, r, journal.ThreadReply)
	if err != nil {
		return err
	}
	in.Text = in.body.required("message", utf8.UTFMax*maxThreadMessage)
	if n := utf8.RuneCountInString(in.Text); n > maxThreadMessage {
		in.body.fault("message", codeSchemaInvalid, "has %d characters; the limit is %d", n, maxThreadMessage)
	}
	if i := in.intent; i != nil && i.Handover.GetThread() && i.Status().Open() && in.owner != i.Envelope.GetFromAgent() && i.Envelope.GetHumanTask() == nil {
		in.Word = &journal.Answer{Trigger: state.Start, Reason: state.ReasonApp, Actor: in.Actor, Text: in.Text}
	}
	return a.act(w, r, in, nil)
}

// inboxDelegate serves POST /v1/inbox/{id}/delegate. Of a task only who may decide it says
// who else may: else its sender, who sees its thread, would pass it on to itself.
func (a *API) inboxDelegate(w http.ResponseWriter, r *http.Request) error {
	in, err := a.readAct(w, r, journal.ThreadDelegate)
	if err != nil {
		return err
	}
	if i := in.intent; i != nil && len(i.Envelope.GetHumanTask()) > 0 && !a.mayDecideThread(callerOf(r), i) {
		return errNotAsked
	}
	in.Text = in.body.text("note", utf8.UTFMax*maxNote)
	if to := in.body.text("delegate_to", maxAddress); to != "" {
		canonical, why := readAddress(to)
		if why != "" {
			in.body.fault("delegate_to", codeInvalidAddress, "%s", why)
		}
		in.DelegateTo = canonical
	}
	return a.act(w, r, in, nil)
}

// inboxApprove serves POST /v1/inbox/{id}/approve, inboxReject that of reject.
func (a *API) inboxApprove(w http.ResponseWriter, r *http.Request) error {
	return a.inboxDecide(w, r, journal.Approve)
}

func (a *API) inboxReject(w http.ResponseWriter, r *http.Request) error {
	return a.inboxDecide(w, r, journal.Reject)
}

func (a *API) inboxDecide(w http.ResponseWriter, r *http.Request, decision string) error {
	in, err := a.readAct(w, r, journal.ThreadDecide)
	if err != nil {
		return err
	}
	if err := a.readThreadDecision(in, r, decision); err != nil {
		return err
	}
	return a.act(w, r, in, nil)
}

// readThreadDecision reads a decision on a thread, and what it says to its intent. What
// has ended is decided for the record only.
func (a *API) readThreadDecision(in *act, r *http.Request, decision string) error {
	in.Decision = decision
	in.Text = in.body.text("comment", utf8.UTFMax*maxComment)
	i := in.intent
	if i == nil || !i.Status().Open() || in.thread.Decision != nil {
		return nil
	}
	t, err := taskOf(i.Envelope.GetHumanTask())
	if err != nil {
		return err
	}
	if t == nil {
		in.Word = plainDecision(decision, in.Text, in.Actor)
		return nil
	}
	if !a.mayDecideThread(callerOf(r), i) {
		return errNotAsked
	}
	outcome := t.meant(decision)
	if outcome == "" {
		return refuseFaults([]fault{{"/decision", "could be any of " + strings.Join(t.outcomes, ", ") + ": say which, with POST /v1/intents/{id}/resume", codeSchemaInvalid}})
	}
	d := &doc{}
	d.open('{').key("task_result").open('{').str("outcome", outcome).opt("comment", in.Text)
	if data := in.body.object("data"); data != nil {
		d.raw("data", data)
	}
	d.close('}').close('}')
	var wrong []fault
	said, err := parseObject(d.b, "", &wrong)
	if err != nil {
		return err
	}
	t.gate = i.Envelope.IntentType == journal.GateType
	ans := readDecision(said, t, r)
	ans.Actor = in.Actor
	for _, f := range wrong {
		f.Pointer = strings.TrimPrefix(f.Pointer, "/task_result")
		*in.faults = append(*in.faults, f)
	}
	in.Word = &ans
	return nil
}

// plainDecision is what a decision means for an intent that asks for no outcome in
// particular.
func plainDecision(decision, comment, actor string) *journal.Answer {
	d := &doc{}
	ans := &journal.Answer{Trigger: state.Complete, Reason: state.ReasonApp, Actor: actor}
	outcome := "approved"
	if decision == journal.Reject {
		outcome = "rejected"
		ans.Trigger, ans.Reason, ans.Text = state.Cancel, state.ReasonCanceled, outcome
	}
	ans.Body = d.open('{').str("outcome", outcome).opt("comment", comment).close('}').b
	return ans
}

// meant is the outcome of a task that a decision stands for: the usual word where the
// task has it, else the only one that is of its kind; "": none, or more than one.
func (t *humanTask) meant(decision string) string {
	usual, refuses := "approved", false
	if decision == journal.Reject {
		usual, refuses = "rejected", true
	}
	only, n := "", 0
	for _, o := range t.outcomes {
		if o == usual {
			return o
		}
		if refusals[o] == refuses {
			only = o
			n++
		}
	}
	if n == 1 {
		return only
	}
	return ""
}

// inboxDelete serves POST /v1/inbox/{id}/messages/delete.
func (a *API) inboxDelete(w http.ResponseWriter, r *http.Request) error {
	in, err := a.readAct(w, r, journal.ThreadDelete)
	if err != nil {
		return err
	}
	mode := in.body.text("mode", maxOutcome)
	in.body.oneOf("mode", mode, []string{"self", "both"})
	if mode == "" {
		mode = "self"
	}
	in.Both = mode == "both"
	for _, text := range in.body.words("message_ids", maxDeleted, maxOutcome) {
		id, err := journal.ParseID(text)
		if err != nil {
			continue // the id of no message
		}
		in.Messages = append(in.Messages, id)
	}
	limit, given := in.body.integer("limit", 1, maxDeleted)
	switch {
	case given:
		in.Limit = int(limit)
	case in.body.has("message_ids"):
		if in.Messages == nil {
			in.Messages = []journal.ID{}
		}
	default:
		in.Limit = 1 // the last that was said
	}
	return a.act(w, r, in, func(d *doc, done *journal.ThreadActed) {
		d.str("mode", mode).num("deleted_count", int64(len(done.Deleted))).key("message_ids").open('[')
		for _, id := range done.Deleted {
			d.element(id.String())
		}
		d.close(']')
	})
}

// inboxRead serves POST /v1/inbox/{id}/read.
func (a *API) inboxRead(w http.ResponseWriter, r *http.Request) error {
	in, err := a.readAct(w, r, journal.ThreadRead)
	if err != nil {
		return err
	}
	return a.act(w, r, in, nil)
}
