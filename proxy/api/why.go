package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

// account is the answer to why.
type account struct {
	status        state.Status
	causes        []state.Delay
	attempts, max uint32
	next          time.Time
	heldBy        string
	late          int // answers that came after the end
	asOf          time.Time
}

// why serves GET /v1/intents/{id}/why.
func (a *API) why(w http.ResponseWriter, r *http.Request) error {
	id, err := a.seenID(r)
	if err != nil {
		return err
	}
	i, err := a.journal.Get(id)
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	a.accountFor(r.Context(), i).write(d, id)
	return answer(w, d)
}

// Why says what an intent waits for.
func (a *API) Why(ctx context.Context, i *journal.Intent) string { return a.accountFor(ctx, i).text() }

func (a *API) accountFor(ctx context.Context, i *journal.Intent) *account {
	acc := &account{status: i.Status(), asOf: time.Now()}
	switch {
	case i.Head != nil:
		a.whyAtHome(ctx, i, acc)
		a.whyNotExpired(i, acc)
	default:
		a.whyAtHolder(i, acc)
	}
	return acc
}

func (acc *account) text() string {
	texts := make([]string, 0, len(acc.causes))
	for _, c := range acc.causes {
		texts = append(texts, c.Detail())
	}
	if acc.late > 0 {
		texts = append(texts, fmt.Sprintf("Answers that came after that: %d. They change nothing; GET /v1/intents/{id} shows them as late_answers.", acc.late))
	}
	return strings.Join(texts, " ")
}

func (acc *account) write(d *doc, id journal.ID) {
	d.open('{').boolean("ok", true).str("intent_id", id.String()).str("status", acc.status.String())
	d.str("text", acc.text()).key("causes").open('[')
	for _, c := range acc.causes {
		d.item().open('{').str("code", c.Cause.String()).str("detail", c.Detail())
		if !c.Until.IsZero() {
			d.time("until", c.Until)
		}
		d.opt("peer", c.Peer).opt("waits_for", c.Who).opt("task_id", c.Task).opt("step_id", c.Step).close('}')
	}
	d.close(']')
	d.key("attempts").open('{').num("n", int64(acc.attempts)).num("max", int64(acc.max)).close('}')
	if !acc.next.IsZero() {
		d.time("next_try_at", acc.next)
	}
	d.opt("held_by", acc.heldBy).time("as_of", acc.asOf).close('}')
}

// whyAtHome asks whoever the intent waits for: the dispatcher while it is to
// be offered, our mailbox, or its holder.
func (a *API) whyAtHome(ctx context.Context, i *journal.Intent, acc *account) {
	h := i.Head
	acc.attempts, acc.max = h.Attempts, h.MaxAttempts
	switch place(i) {
	case journal.PlaceEnded:
		acc.add(ended(i))
		acc.late = len(h.LateAnswers)
	case journal.PlaceParked:
		if h.Gated {
			whyGated(i, acc)
			return
		}
		if h.Stepped {
			a.whyStepped(ctx, i, acc)
			return
		}
		if h.WakeMs != 0 {
			acc.add(state.Delay{Cause: state.CauseScheduled, Until: time.UnixMilli(h.WakeMs)})
			return
		}
		acc.add(state.Delay{Cause: state.CauseParked})
	case journal.PlaceLocal:
		acc.heldBy = a.journal.Identity().Journal.String()
		a.whyAtHolder(i, acc)
	case journal.PlaceHeld:
		if holder, err := journal.IDOf(h.Holder); err == nil {
			a.whyHeld(ctx, i.ID, holder, acc)
		}
	case journal.PlaceDue:
		if holder := a.dispatcher.HeldBy(i.ID); !holder.IsZero() {
			a.whyHeld(ctx, i.ID, holder, acc)
			return
		}
		if len(i.Envelope.GetHumanTask()) > 0 {
			acc.add(state.Delay{Cause: state.CauseParked})
			return
		}
		if due := time.UnixMilli(h.DueMs); due.After(acc.asOf) {
			acc.next = due
			c := state.CauseScheduled
			if h.Attempts > 0 {
				c = state.CauseBackingOff
			}
			acc.add(state.Delay{Cause: c, Until: due})
			return
		}
		to := journal.Agent(h.Dest)
		if a.journal.Killed(a.journal.AgentName(to)) {
			acc.add(state.Delay{Cause: state.CauseKilled})
		}
		for _, c := range a.dispatcher.Why(i.ID, a.journal.AgentName(to), a.journal.ForThreads(to)) {
			acc.add(c)
		}
		if len(acc.causes) == 0 {
			acc.add(state.Delay{Cause: state.CauseOffering})
		}
	}
}

// ended says of an end that is no success what it is for, and with which words.
func ended(i *journal.Intent) state.Delay {
	d := state.Delay{Cause: state.CauseEnded}
	if i.Status() == state.Completed {
		return d
	}
	d.Ended = state.Reason(i.Head.Reason)
	var failure struct{ Message string }
	if i.Outcome != nil && json.Unmarshal(i.Outcome.Body, &failure) == nil { // an app's error need not have one
		d.Said = failure.Message
	}
	return d
}

// whyNotExpired adds why an intent is open whose time is over.
func (a *API) whyNotExpired(i *journal.Intent, acc *account) {
	limit := atMs(i.Head.ExpiryMs)
	if acc.status.Terminal() || limit.IsZero() || limit.After(acc.asOf) {
		return
	}
	if clock := a.journal.Stats().Clock; clock.Paused {
		acc.add(state.Delay{Cause: state.CauseClock, Until: acc.asOf.Add(clock.Left)})
	}
}

// whyTime is how long a holder may take to answer.
const whyTime = time.Second

func (a *API) whyHeld(ctx context.Context, id, holder journal.ID, acc *account) {
	acc.heldBy = holder.String()
	ctx, cancel := context.WithTimeout(ctx, whyTime)
	defer cancel()
	ans, err := a.dispatcher.Ask(ctx, id, holder, peer.Ask_WHY)
	if err != nil || ans.Error != "" {
		acc.add(state.Delay{Cause: state.CauseHolderUnreachable, Peer: acc.heldBy, Until: a.dispatcher.GivenUpAt(holder)})
		return
	}
	acc.attempts = max(acc.attempts, ans.Attempts)
	code, known := state.ParseCause(ans.Text)
	if !known {
		code = causeOf(state.Phase(ans.Phase))
	}
	until := atMs(ans.LeaseUntilMs)
	if next := atMs(ans.NextDueMs); until.IsZero() && next.After(acc.asOf) {
		until, acc.next = next, next
	}
	acc.add(state.Delay{Cause: code, Until: until, Peer: acc.heldBy})
}

// whyAtHolder asks our own mailbox.
func (a *API) whyAtHolder(i *journal.Intent, acc *account) {
	if i.Handover == nil {
		return
	}
	acc.attempts, acc.max = i.Handover.Attempts, i.Handover.MaxAttempts
	for _, c := range a.mailbox.Why(i.ID) {
		if c.Cause == state.CauseBackingOff {
			acc.next = c.Until
		}
		acc.add(c)
	}
}

func causeOf(p state.Phase) state.Cause {
	switch p {
	case state.Ready:
		return state.CauseWaitingForApp
	case state.Leased:
		return state.CauseLeased
	case state.Working:
		return state.CauseWorking
	case state.Parked:
		return state.CauseParked
	case state.Spent:
		return state.CauseOutOfAttempts
	}
	return state.CauseEnded
}

// add takes a cause; a time that has passed, or comes after the end, says nothing.
func (acc *account) add(c state.Delay) {
	if c.Cause == state.CauseEnded || !c.Until.After(acc.asOf) {
		c.Until = time.Time{}
	}
	acc.causes = append(acc.causes, c)
}

func atMs(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
