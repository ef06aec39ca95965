package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

// cause is one reason why an intent is where it is.
type cause struct {
	code   string
	detail string
	until  time.Time
	peer   string
}

func because(c state.Cause, until time.Time) cause {
	return cause{code: c.String(), detail: c.Sentence(), until: until}
}

// account is the answer to why.
type account struct {
	status        state.Status
	causes        []cause
	attempts, max uint32
	next          time.Time
	heldBy        string
	asOf          time.Time
}

// why serves GET /v1/intents/{id}/why.
func (a *API) why(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	i, err := a.journal.Get(id)
	if err != nil {
		return err
	}
	acc := &account{status: i.Status(), asOf: time.Now()}
	switch {
	case i.Head != nil:
		a.whyAtHome(r.Context(), i, acc)
	default:
		a.whyAtHolder(i, acc)
	}
	d := newDoc()
	defer d.free()
	acc.write(d, id)
	return answer(w, d)
}

func (acc *account) write(d *doc, id journal.ID) {
	texts := make([]string, 0, len(acc.causes))
	for _, c := range acc.causes {
		texts = append(texts, c.detail)
	}
	d.open('{').boolean("ok", true).str("intent_id", id.String()).str("status", acc.status.String())
	d.str("text", strings.Join(texts, " ")).key("causes").open('[')
	for _, c := range acc.causes {
		d.item().open('{').str("code", c.code).str("detail", c.detail)
		if !c.until.IsZero() {
			d.time("until", c.until)
		}
		d.opt("peer", c.peer).close('}')
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
		acc.add(because(state.CauseEnded, time.Time{}))
	case journal.PlaceParked:
		acc.add(because(state.CauseParked, time.Time{}))
	case journal.PlaceLocal:
		acc.heldBy = a.journal.Identity().Journal.String()
		a.whyAtHolder(i, acc)
	case journal.PlaceHeld:
		a.whyHeld(ctx, i, acc)
	case journal.PlaceDue:
		if due := time.UnixMilli(h.DueMs); due.After(acc.asOf) {
			acc.next = due
			c := state.CauseScheduled
			if h.Attempts > 0 {
				c = state.CauseBackingOff
			}
			acc.add(because(c, due))
			return
		}
		for _, c := range a.dispatcher.Why(a.journal.AgentName(journal.Agent(h.Dest))) {
			acc.add(cause{c.Code, c.Detail, c.Until, c.Peer})
		}
		if len(acc.causes) == 0 {
			acc.add(because(state.CauseOffering, time.Time{}))
		}
	}
}

// whyTime is how long a holder may take to answer.
const whyTime = time.Second

func (a *API) whyHeld(ctx context.Context, i *journal.Intent, acc *account) {
	acc.heldBy = idText(i.Head.Holder)
	holder, err := journal.IDOf(i.Head.Holder)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, whyTime)
	defer cancel()
	ans, err := a.dispatcher.Ask(ctx, i.ID, holder, peer.Ask_WHY)
	if err != nil || ans.Error != "" {
		c := because(state.CauseHolderUnreachable, time.Time{})
		c.peer = acc.heldBy
		acc.add(c)
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
	c := because(code, until)
	c.peer = acc.heldBy
	acc.add(c)
}

// whyAtHolder reads our own mailbox.
func (a *API) whyAtHolder(i *journal.Intent, acc *account) {
	h := i.Handover
	if h == nil {
		return
	}
	acc.attempts, acc.max = h.Attempts, h.MaxAttempts
	phase := state.Phase(h.Phase)
	lease, due := atMs(h.LeaseUntilMs), journal.DueAt(h.DueMs)
	switch {
	case phase == state.Leased || phase == state.Working:
		acc.add(because(causeOf(phase), lease))
	case phase == state.Ready && due.After(acc.asOf):
		acc.next = due
		acc.add(because(state.CauseBackingOff, due))
	case phase == state.Ready:
		acc.add(doorCause(a.mailbox.Door(a.journal.AgentName(journal.Agent(h.Agent)))))
	default:
		acc.add(because(causeOf(phase), time.Time{}))
	}
}

func doorCause(s inbound.DoorStatus) cause {
	switch {
	case s.Open:
		return because(state.CauseWaitingForApp, time.Time{})
	case s.Reason == inbound.NoReader.String():
		return because(state.CauseNoReader, time.Time{})
	}
	return because(state.CauseDoorShut, s.NextProbe)
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
func (acc *account) add(c cause) {
	if c.code == state.CauseEnded.String() || !c.until.After(acc.asOf) {
		c.until = time.Time{}
	}
	acc.causes = append(acc.causes, c)
}

func atMs(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
