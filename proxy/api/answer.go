package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/proxy/trace"
)

const (
	maxReason = 2000
	maxActor  = 255
	// verdictTime is how long an answer given at the holder waits for home to
	// say whether it won.
	verdictTime = time.Second
	verdictPoll = 20 * time.Millisecond
	someApp     = "app" // actor of an answer that names none
)

// resolve serves POST /v1/intents/{id}/resolve: an end, from any open status,
// by word of anybody. The first answer wins.
func (a *API) resolve(w http.ResponseWriter, r *http.Request) error {
	in, err := a.readWord(w, r)
	if err != nil {
		return err
	}
	ans := readResolve(in.body, r)
	if err := faultsOf(*in.faults); err != nil {
		return err
	}
	id := in.id
	if err := a.mayEnd(r, id, ans.Trigger); err != nil {
		return err
	}
	ans.Key = in.key
	began := time.Now()
	done, err := a.journal.Answer(r.Context(), id, ans)
	defer a.opt.Tracer.Settled(r.Context(), trace.Resolve, began, []journal.ID{id}, spanCode(err))
	if err != nil {
		return err
	}
	if done.Stale {
		return answerStale(w, done)
	}
	i, seq, ev, err := a.verdict(r.Context(), id, ans, done)
	if err != nil {
		return err
	}
	markReplayed(w, done.Replayed)
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("intent")
	a.writeIntent(d, i, whole)
	d.key("event")
	if ev != nil {
		writeEvent(d, id, seq, ev, &page{outcome: i.Outcome})
	} else {
		writeProvisional(d, i, ans)
	}
	d.key("completion_delivery")
	writeCompletion(d, i, ev != nil)
	return answer(w, d.close('}'))
}

// word is a resolve or a resume as it came.
type word struct {
	id     journal.ID
	body   *object
	faults *[]fault
	key    *journal.Key // nil: none
}

// readWord reads what resolve and resume have in common. No body is {}.
func (a *API) readWord(w http.ResponseWriter, r *http.Request) (*word, error) {
	return a.readWordOf(w, r, a.opt.MaxBody)
}

func (a *API) readWordOf(w http.ResponseWriter, r *http.Request, limit int) (*word, error) {
	id, err := a.seenID(r)
	if err != nil {
		return nil, err
	}
	in, err := a.readWordBody(w, r, limit)
	if err == nil {
		in.id = id
	}
	return in, err
}

// readWordBody is readWord without the id of an intent.
func (a *API) readWordBody(w http.ResponseWriter, r *http.Request, limit int) (*word, error) {
	raw, err := a.readBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		raw = []byte("{}")
	}
	in := &word{faults: new([]fault)}
	if in.body, err = parseBody(raw, in.faults); err != nil {
		return nil, err
	}
	key, err := headerKey(r.Header)
	if err != nil || key == "" {
		return in, err
	}
	// A copy: the key is compared in canonical form.
	in.key, err = scopedKey(callerOf(r).identity(), r.Method+" "+r.URL.Path, key, bytes.Clone(raw))
	return in, err
}

// markReplayed says that this is the first answer to its key again.
func markReplayed(w http.ResponseWriter, replayed bool) {
	if replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
}

func readResolve(body *object, r *http.Request) (ans journal.Answer) {
	ans = journal.Answer{Reason: state.ReasonApp, Actor: body.text("actor", maxActor)}
	if ans.Actor == "" {
		ans.Actor = owner(r)
	}
	reason := body.text("reason", maxReason)
	result, failure := body.object("result"), body.object("error")
	word := body.required("status", 32)
	status, _ := state.ParseStatus(word)
	switch status {
	case state.Completed:
		ans.Trigger, ans.Body = state.Complete, result
	case state.Failed:
		ans.Trigger, ans.Body = state.Fail, failure
		ans.Text = reason
	case state.Canceled:
		ans.Trigger, ans.Reason, ans.Text = state.Cancel, state.ReasonCanceled, reason
		if ans.Text == "" {
			ans.Text = "canceled"
		}
	default:
		if word != "" {
			body.fault("status", codeSchemaInvalid, "must be COMPLETED, FAILED or CANCELED")
		}
	}
	if ans.Body == nil && ans.Trigger != state.Cancel {
		ans.Body = []byte("{}")
	}
	ans.Expects, ans.Expected = expectedGeneration(body)
	return ans
}

// owner is who the caller says it speaks for.
func owner(r *http.Request) string {
	text := r.URL.Query().Get("owner_agent")
	if text == "" {
		text = r.Header.Get("X-Owner-Agent")
	}
	if text == "" {
		return someApp
	}
	return clip(text, maxActor-len("…"))
}

// answerStale answers a word that was for another generation of the policy.
func answerStale(w http.ResponseWriter, done journal.Answered) error {
	markReplayed(w, done.Replayed)
	return answerChanged(w, journal.Changed{Stale: true, Generation: done.Generation})
}

func generation(i *journal.Intent) int64 {
	if i.Head != nil {
		return int64(i.Head.PolicyGeneration)
	}
	return int64(i.Handover.PolicyGeneration)
}

// verdict returns the intent after an answer, and the event the answer wrote:
// home's own. At a holder that takes a moment; without home's word in time ev
// is nil, and the answer counts unless home has had another before it.
func (a *API) verdict(ctx context.Context, id journal.ID, ans journal.Answer, done journal.Answered) (i *journal.Intent, seq uint32, ev *wire.Event, err error) {
	if done.Provisional {
		if ev, seq, err = a.awaitVerdict(ctx, id, ans); err != nil {
			return nil, 0, nil, err
		}
	} else {
		events, first, err := a.journal.Events(id, done.Seq-1)
		if err != nil {
			return nil, 0, nil, err
		}
		if len(events) > 0 {
			ev, seq = events[0], first
		}
	}
	i, err = a.journal.Get(id)
	return i, seq, ev, err
}

// awaitVerdict waits for home to tell how the intent ended. A lost race is an
// honest refusal.
func (a *API) awaitVerdict(ctx context.Context, id journal.ID, ans journal.Answer) (*wire.Event, uint32, error) {
	over := time.NewTimer(verdictTime)
	defer over.Stop()
	tick := time.NewTicker(verdictPoll)
	defer tick.Stop()
	for {
		i, err := a.journal.Get(id)
		if err != nil {
			return nil, 0, err
		}
		if i.Handover != nil && i.Handover.EndedAtHome {
			if ev, seq, err := a.ruled(i, ans); ev != nil || err != nil {
				return ev, seq, err
			}
		}
		select {
		case <-tick.C:
		case <-over.C:
			return nil, 0, nil
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// ruled reads home's ruling from the copy of its log. That comes with the ack of our
// report; a revoke, which may come before it, says only the status. An end that is
// not by this journal's word is somebody else's, also where its status is the same.
func (a *API) ruled(i *journal.Intent, ans journal.Answer) (*wire.Event, uint32, error) {
	events, first, err := a.journal.Events(i.ID, 0)
	if err != nil && !errors.Is(err, journal.ErrNotFound) {
		return nil, 0, err
	}
	if len(events) == 0 {
		if status := i.Status(); status != endOf(ans.Trigger) && !i.Handover.Threaded { // of people's, the log comes along
			return nil, 0, &journal.EndedError{Status: status}
		}
		return nil, 0, nil // not said yet
	}
	last := events[len(events)-1]
	self := a.journal.Identity().Journal
	if status := state.Status(last.Status); status != endOf(ans.Trigger) || string(last.Peer) != string(self[:]) {
		if i.Handover.Threaded {
			return nil, 0, journal.EndedAs(last)
		}
		return nil, 0, &journal.EndedError{Status: status}
	}
	return last, first + uint32(len(events)) - 1, nil
}

func endOf(t state.Trigger) state.Status {
	switch t {
	case state.Complete:
		return state.Completed
	case state.Fail:
		return state.Failed
	case state.Cancel:
		return state.Canceled
	}
	return state.InProgress
}

// writeProvisional writes the event home is expected to write.
func writeProvisional(d *doc, i *journal.Intent, ans journal.Answer) {
	status := endOf(ans.Trigger)
	d.open('{').str("intent_id", i.ID.String()).num("seq", 0).str("event_type", endEvent(ans.Trigger))
	d.str("status", status.String()).time("at", time.Now()).str("actor", ans.Actor).null("handler").null("waiting_reason")
	d.key("details").open('{').boolean("provisional", true)
	if status.Terminal() {
		writeOutcome(d, status, &wire.Outcome{Status: uint32(status), Body: ans.Body, Text: ans.Text})
	}
	d.close('}').close('}')
}

func endEvent(t state.Trigger) string {
	row, _ := state.Next(state.InProgress, t)
	return row.Event.String()
}
