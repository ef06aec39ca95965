package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"
)

// The checker judges a run by what was seen from outside and by nothing else:
// what senders and workers were answered, when which process was killed, and
// what home shows in the end. All times are of one clock, the parent's.

// span is one exchange: it began, and was over, at these times.
type span struct{ begin, end time.Time }

// posted is one POST and what it said; id is empty without a 2xx.
type posted struct {
	span
	key, id string
}

// handed is one hand-over a worker received.
type handed struct {
	span   // of the poll that brought it
	item   item
	holder string // the sidecar that gave it
	agent  string // whose intents were asked for
}

// settled is one settle and what was answered; code 0 is no answer.
type settled struct {
	span
	id, lease, verb string
	code            int
	result          string // of an ack
	until           time.Time
}

// killed is one SIGKILL; up is when the process was ready again.
type killed struct {
	who    string
	at, up time.Time
	busy   int // intents acked to the sender and not completed
}

// sighting is an intent's event log as somebody read it, in the run or after.
type sighting struct {
	at     time.Time
	id     string
	events []event
}

// verdict is what home says of an intent at the end.
type verdict struct {
	status string
	to     string
	key    string // as the payload has it
	result json.RawMessage
	events []event
	late   int // answers that came after the end
}

// history is everything the checker may know.
type history struct {
	mu    sync.Mutex
	posts []posted
	hands []handed
	ends  []settled
	kills []killed
	reads []sighting
	final map[string]verdict

	// cutOff: home gives a holder up while it is down, so that what it had may
	// be handed over by another one as well.
	cutOff bool
}

func (h *history) post(p posted)      { h.mu.Lock(); h.posts = append(h.posts, p); h.mu.Unlock() }
func (h *history) hand(x handed)      { h.mu.Lock(); h.hands = append(h.hands, x); h.mu.Unlock() }
func (h *history) settle(s settled)   { h.mu.Lock(); h.ends = append(h.ends, s); h.mu.Unlock() }
func (h *history) sighted(s sighting) { h.mu.Lock(); h.reads = append(h.reads, s); h.mu.Unlock() }

// acked is every id a sender was told, with its key.
func (h *history) acked() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	ids := map[string]string{}
	for _, p := range h.posts {
		if p.id != "" {
			ids[p.id] = p.key
		}
	}
	return ids
}

// report is the checker's finding.
type report struct {
	violations []string
	duplicates map[string]int // cause → hand-overs beyond the first of an intent
	lines      []string       // one for each that was not asked for
	acked      int
	completed  int
	handovers  int
}

func (r *report) bad(format string, args ...any) {
	r.violations = append(r.violations, fmt.Sprintf(format, args...))
}

// check judges a history. It must be called when nothing is under way.
func check(h *history) *report {
	r := &report{duplicates: map[string]int{}, handovers: len(h.hands)}
	ids := h.acked()
	r.acked = len(ids)
	r.checkKeys(h)
	for id, key := range ids {
		v, ok := h.final[id]
		switch {
		case !ok:
			r.bad("%s: acked to the sender and lost", id)
			continue
		case !terminal(v.status):
			r.bad("%s: acked and never ended: %s", id, v.status)
		case v.key != key:
			r.bad("%s: posted with payload %s, shown with %s", id, key, v.key)
		}
		if v.status == "COMPLETED" {
			r.completed++
		}
		if err := legal(v.events, v.status); err != nil {
			r.bad("%s: %v", id, err)
		}
	}
	for _, s := range h.reads {
		if err := prefix(s.events, h.final[s.id].events); err != nil {
			r.bad("%s: read at %s: %v", s.id, s.at.Format("15:04:05.000"), err)
		}
	}
	r.checkHandovers(h, ids)
	return r
}

// checkKeys: one key, one intent; one intent, one key.
func (r *report) checkKeys(h *history) {
	byKey, byID := map[string]string{}, map[string]string{}
	for _, p := range h.posts {
		if p.id == "" {
			continue
		}
		if other, ok := byKey[p.key]; ok && other != p.id {
			r.bad("key %s made two intents: %s and %s", p.key, other, p.id)
		}
		if other, ok := byID[p.id]; ok && other != p.key {
			r.bad("%s answers two keys: %s and %s", p.id, other, p.key)
		}
		byKey[p.key], byID[p.id] = p.id, p.key
	}
}

// life is all that happened to one intent at its receivers.
type life struct {
	hands []handed
	ends  []settled
}

func (r *report) checkHandovers(h *history, ids map[string]string) {
	lives := map[string]*life{}
	at := func(id string) *life {
		if lives[id] == nil {
			lives[id] = &life{}
		}
		return lives[id]
	}
	for _, x := range h.hands {
		at(x.item.ID).hands = append(at(x.item.ID).hands, x)
	}
	for _, s := range h.ends {
		at(s.id).ends = append(at(s.id).ends, s)
	}
	for id, l := range lives {
		sort.Slice(l.hands, func(i, j int) bool { return l.hands[i].end.Before(l.hands[j].end) })
		if _, ok := ids[id]; !ok {
			r.bad("%s: handed over, and nobody posted it", id)
			continue
		}
		r.checkLife(h, id, l)
	}
	for id := range ids {
		if v := h.final[id]; v.status == "COMPLETED" && lives[id] == nil {
			r.bad("%s: completed, and never handed over", id)
		}
	}
}

func (r *report) checkLife(h *history, id string, l *life) {
	v := h.final[id]
	before := map[string]*handed{} // the last one at each holder
	var last *handed
	for i := range l.hands {
		x := &l.hands[i]
		if v.to != "" && (x.item.To != v.to || x.agent != v.to) {
			r.bad("%s: for %s, handed to %s as %s", id, v.to, x.agent, x.item.To)
		}
		for _, s := range l.ends {
			if s.verb == "ack" && s.code == 200 && s.end.Before(x.begin) && l.holderOf(s.lease) == x.holder {
				r.bad("%s: handed over by a poll begun %v after its ack was answered 200", id, x.begin.Sub(s.end))
			}
		}
		if here := before[x.holder]; here != nil {
			cause := explain(h, *here, *x, l.ends)
			if cause == "" && lostBetween(v.events, here.begin, x.end) {
				cause = explainMove(h, *here, *x) // it went from here, perhaps to another's mailbox, and has come back
			}
			r.duplicate(id, here, x, cause)
			if x.item.DeliveryAttempt <= here.item.DeliveryAttempt {
				r.bad("%s: delivery_attempt %d after %d", id, x.item.DeliveryAttempt, here.item.DeliveryAttempt)
			}
		} else if last != nil {
			r.duplicate(id, last, x, explainMove(h, *last, *x))
		}
		before[x.holder], last = x, x
	}
	r.checkWinner(id, v, l)
	r.checkAttempts(h, id, v, l)
}

// duplicate books a hand-over beyond the first, with its cause.
func (r *report) duplicate(id string, before, after *handed, cause string) {
	if cause == "" {
		r.bad("%s: handed over twice without a reason: %s by %s and %s by %s (first lease until %s)", id, clock(before.end), before.holder,
			clock(after.end), after.holder, clock(before.item.LeaseUntil))
	}
	r.duplicates[cause]++
	if cause != byNack {
		r.lines = append(r.lines, fmt.Sprintf("%s again %s by %s, after %s by %s: %s", id, clock(after.end), after.holder, clock(before.end), before.holder, cause))
	}
	if !after.item.Redelivered && before.holder == after.holder {
		r.bad("%s: second hand-over without redelivered", id)
	}
}

func clock(at time.Time) string { return at.Format("15:04:05.000") }

// holderOf is where a lease was given out.
func (l *life) holderOf(lease string) string {
	for _, x := range l.hands {
		if x.item.Lease == lease {
			return x.holder
		}
	}
	return ""
}

// checkWinner: at most one lease of a holder won, and home shows what an app
// answered; where one was answered 200, one of those.
func (r *report) checkWinner(id string, v verdict, l *life) {
	winners, tried := map[string]string{}, map[string]bool{}
	said, won, acked := false, false, false
	for _, s := range l.ends {
		if s.verb != "ack" || s.code != 200 && s.code != 0 {
			continue
		}
		tried[s.lease] = true
		said = said || jsonEqual(s.result, v.result)
		if s.code == 0 {
			continue
		}
		acked = true
		won = won || jsonEqual(s.result, v.result)
		holder := l.holderOf(s.lease)
		if other, ok := winners[holder]; ok && other != s.lease {
			r.bad("%s: acks of two leases were answered 200 by %s", id, holder)
		}
		winners[holder] = s.lease
		if x := leasedSince(l, s); x != nil {
			r.bad("%s: a stale lease was believed: its ack began %v after the next hand-over", id, s.begin.Sub(x.end))
		}
	}
	if v.late > max(0, len(tried)-1) {
		r.bad("%s: %d leases were answered, and home books %d late answers", id, len(tried), v.late)
	}
	if v.status == "COMPLETED" && !said {
		r.bad("%s: completed with %s, which no app answered", id, v.result)
	}
	if acked && v.status != "COMPLETED" || len(winners) == len(tried) && acked && !won {
		r.bad("%s: an ack was answered 200, and home says %s with %s", id, v.status, v.result)
	}
}

// leasedSince is a later hand-over that had been received before this settle
// of an earlier one began.
func leasedSince(l *life, s settled) *handed {
	mine := -1
	for i, x := range l.hands {
		if x.item.Lease == s.lease {
			mine = i
		}
		if mine >= 0 && i > mine && x.holder == l.hands[mine].holder && x.end.Before(s.begin) {
			return &l.hands[i]
		}
	}
	return nil
}

// checkAttempts: only a nack, or the lapse of a lease over which the holder
// stayed up, is a failed attempt.
func (r *report) checkAttempts(h *history, id string, v verdict, l *life) {
	failed, allowed := 0, 0
	for _, e := range v.events {
		if e.Type == "intent.delivery_failed" {
			failed++
		}
	}
	for _, s := range l.ends {
		if s.verb == "nack" && (s.code == 200 || s.code == 0) {
			allowed++
		}
	}
	for _, x := range l.hands {
		if !killedIn(h, x.holder, x.begin, leaseEnd(x, l.ends)) {
			allowed++
		}
	}
	if failed > allowed {
		r.bad("%s: %d failed attempts, and the app can have made %d", id, failed, allowed)
	}
}

// byNack is the one cause that is no duplicate: the app asked for it.
const byNack = "asked for by nack"

// lostBetween: home has given up the holder of the intent in the interval.
func lostBetween(events []event, from, to time.Time) bool {
	for _, e := range events {
		if e.Type == "intent.transfer" && e.Details["reason"] == "holder_lost" && e.At.After(from) && e.At.Before(to) {
			return true
		}
	}
	return false
}

// explainMove names the cause of a hand-over by another holder.
func explainMove(h *history, before, after handed) string {
	from := before.begin.Add(-20 * time.Second) // who was down then may come back only now
	if h.cutOff && (killBetween(h, before.holder, from, after.end) || killBetween(h, after.holder, from, after.end)) {
		return "a holder was lost, and the intent offered to the other"
	}
	if h.cutOff && killBetween(h, "home", from, after.end) {
		return "home was killed and could not ask the holder"
	}
	return ""
}

// explain names the cause of a second hand-over, one of those the README
// lists; empty when there is none.
func explain(h *history, before, after handed, ends []settled) string {
	for _, s := range ends {
		if s.lease == before.item.Lease && s.verb == "nack" && s.begin.Before(after.end) {
			return byNack
		}
	}
	if after.end.Before(leaseEnd(before, ends)) {
		return "" // still leased: nothing may touch it, not even a crash
	}
	for _, s := range ends {
		if s.lease == before.item.Lease && s.verb == "ack" && s.code == 0 && s.begin.Before(after.end) {
			return "answer lost"
		}
	}
	if killBetween(h, before.holder, before.begin, after.end) {
		return "lease lapsed over a crash of the holder"
	}
	return "lease lapsed while the app still worked"
}

// leaseEnd is when the lease of a hand-over ran out, as far as the app was told.
func leaseEnd(x handed, ends []settled) time.Time {
	until := x.item.LeaseUntil
	for _, s := range ends {
		if s.lease == x.item.Lease && s.verb == "extend" && s.code == 200 && s.until.After(until) {
			until = s.until
		}
	}
	return until
}

// killBetween: the process was killed, or down, at some time in the interval.
func killBetween(h *history, who string, from, to time.Time) bool {
	for _, k := range h.kills {
		if k.who == who && k.at.Before(to) && k.up.After(from) {
			return true
		}
	}
	return false
}

// killedIn: the process that gave out a hand-over was killed later, in the
// interval. It may have answered before it was seen to be ready again.
func killedIn(h *history, who string, from, to time.Time) bool {
	for _, k := range h.kills {
		if k.who == who && k.at.After(from) && k.at.Before(to) {
			return true
		}
	}
	return false
}

// moves is AXP's table of transitions; every open status may also time out.
var moves = map[string]string{
	"":             "CREATED",
	"CREATED":      "SUBMITTED",
	"SUBMITTED":    "DELIVERED IN_PROGRESS WAITING FAILED CANCELED TIMED_OUT",
	"DELIVERED":    "ACKNOWLEDGED IN_PROGRESS WAITING FAILED CANCELED TIMED_OUT",
	"ACKNOWLEDGED": "IN_PROGRESS WAITING FAILED CANCELED TIMED_OUT",
	"IN_PROGRESS":  "WAITING COMPLETED FAILED CANCELED TIMED_OUT",
	"WAITING":      "IN_PROGRESS FAILED CANCELED TIMED_OUT",
}

// informational events keep the status; delivered does so when it is repeated.
var informational = map[string]bool{
	"intent.transfer": true, "intent.delivery_failed": true, "intent.reminder": true,
	"intent.escalated": true, "intent.human_task_assigned": true,
}

// legal says what is wrong with an event log: numbered from 1 without a gap,
// each step in the table, and the last status the one shown.
func legal(events []event, status string) error {
	now := ""
	for i, e := range events {
		if e.Seq != i+1 {
			return fmt.Errorf("event %d has seq %d", i+1, e.Seq)
		}
		kept := e.Status == now && (informational[e.Type] || e.Type == "intent.delivered")
		switch {
		case terminal(now):
			return fmt.Errorf("event %d %s after the end", e.Seq, e.Type)
		case kept:
		case informational[e.Type]:
			return fmt.Errorf("event %d %s moved %s to %s", e.Seq, e.Type, now, e.Status)
		case !strings.Contains(" "+moves[now]+" ", " "+e.Status+" "):
			return fmt.Errorf("event %d moved %s to %s", e.Seq, now, e.Status)
		case e.Type != "intent."+strings.ToLower(e.Status):
			return fmt.Errorf("event %d is %s with status %s", e.Seq, e.Type, e.Status)
		}
		now = e.Status
	}
	if len(events) < 2 {
		return fmt.Errorf("%d events", len(events))
	}
	if now != status {
		return fmt.Errorf("shown %s, the last event says %s", status, now)
	}
	return nil
}

// prefix: what was read once is never taken back or changed.
func prefix(seen, final []event) error {
	if len(seen) > len(final) {
		return fmt.Errorf("%d events were read, %d are left", len(seen), len(final))
	}
	for i, e := range seen {
		f := final[i]
		if e.Seq != f.Seq || e.Type != f.Type || e.Status != f.Status || !e.At.Equal(f.At) {
			return fmt.Errorf("event %d was %s %s at %s, and is %s %s at %s", e.Seq, e.Type, e.Status, e.At, f.Type, f.Status, f.At)
		}
	}
	return nil
}

func jsonEqual(a string, b []byte) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, []byte(a)) != nil || json.Compact(&y, b) != nil {
		return false
	}
	return bytes.Equal(x.Bytes(), y.Bytes())
}

// print is the report for people, and its figures for CI.
func (r *report) print(logf func(string, ...any)) {
	for _, line := range r.lines {
		logf("%s", line)
	}
	logf("figure: acked %d, completed %d, hand-overs %d", r.acked, r.completed, r.handovers)
	causes := make([]string, 0, len(r.duplicates))
	for c := range r.duplicates {
		causes = append(causes, c)
	}
	sort.Strings(causes)
	for _, c := range causes {
		name := c
		if name == "" {
			name = "UNEXPLAINED"
		}
		logf("figure: handed over again %d times: %s", r.duplicates[c], name)
	}
}
