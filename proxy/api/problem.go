package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pannier/inbound"
	"pannier/journal"
)

// fault is one thing that is wrong with a request: where (a JSON pointer into
// the body, "?name" for a query parameter, "header Name" for a header) and what.
type fault struct {
	Pointer string
	Detail  string
	code    code
}

// problem is a refusal as the app reads it: a problem document (RFC 9457)
// around AXP's error object.
type problem struct {
	code   code
	detail string
	faults []fault
	extra  []pair        // further details of the error object
	header []pair        // response headers beside those of the registry
	retry  time.Duration // 0: the registry's
}

type pair struct{ name, value string }

func (p *problem) Error() string { return p.detail }

// maxMessage is the longest message AXP's error object takes.
const maxMessage = 2000

// message is the detail as it is sent: the names in it are the client's, and
// may be of any length.
func (p *problem) message() string { return clip(p.detail, maxMessage-len("…")) }

// refuse makes a problem with one sentence.
func refuse(c code, format string, args ...any) *problem {
	return &problem{code: c, detail: fmt.Sprintf(format, args...)}
}

// maxFaults is how many faults one refusal names.
const maxFaults = 32

// refuseFaults makes the problem of a request with the faults given, which
// must be at least one. A contradiction is 400 whatever else is wrong; faults
// of one kind keep their own code.
func refuseFaults(faults []fault) *problem {
	faults = faults[:min(len(faults), maxFaults)]
	p := &problem{code: faults[0].code, faults: faults}
	for _, f := range faults {
		if f.code == codeInvalidRequest {
			p.code = codeInvalidRequest
			break
		}
		if f.code != p.code {
			p.code = codeSchemaInvalid
		}
	}
	parts := make([]string, 0, len(faults))
	for _, f := range faults {
		parts = append(parts, f.Pointer+" "+f.Detail)
	}
	p.detail = strings.Join(parts, "; ")
	return p
}

// problemOf is the border at which our errors become the app's: nobody else
// translates. An error it does not know is ours, and its text stays in the log.
func problemOf(err error) *problem {
	var p *problem
	var ended *journal.EndedError
	var decided *journal.DecidedError
	var redriven *journal.RedrivenError
	var letGo *journal.LetGoError
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &ended):
		p = refuse(codeIntentEnded, "the intent has ended %s", ended.Status)
		p.extra = []pair{{"status", ended.Status.String()}}
		if ended.By != "" {
			p.detail += ": by " + clip(ended.By, 64) + ", " + ended.At.UTC().Format(time.RFC3339)
			p.extra = append(p.extra, decidedBy(ended.By, ended.At)...)
		}
		return p
	case errors.As(err, &decided):
		p = refuse(codeDecidedBefore, "it was decided before: %s, by %s", decided.Decision, clip(decided.By, 64))
		p.extra = append([]pair{{"decision", decided.Decision}}, decidedBy(decided.By, decided.At)...)
		return p
	case errors.As(err, &redriven):
		p = refuse(codeAlreadyRedriven, "it was redriven as %s; if that one is a dead letter too, redrive that one", redriven.As)
		p.extra = []pair{{"redriven_as", redriven.As.String()}}
		return p
	case errors.As(err, &tooBig):
		return tooLarge("the body", tooBig.Limit)
	case errors.As(err, &letGo):
		until := letGo.Until.UTC().Format(time.RFC3339)
		p = refuse(codeIntentNotFound, "no such intent at this sidecar; if it was here and ended before %s, it has been let go to make room. Otherwise ask the sidecar that accepted it, or the one that holds it", until)
		p.extra = []pair{{"let_go_until", until}}
		return p
	case errors.Is(err, journal.ErrNotHome):
		return refuse(codeNotHome, "%s", err)
	case errors.Is(err, journal.ErrPolicyTooLarge):
		return refuse(codePayloadTooLarge, "merged with what was said before, this is more than is kept: %v", journal.ErrPolicyTooLarge)
	}
	for _, row := range plainProblems {
		if errors.Is(err, row.err) {
			return refuse(row.code, "%s", row.text)
		}
	}
	return refuse(codeInternal, "internal error; the log has the cause under this request id")
}

// decidedBy says who decided what cannot be decided again, and when.
func decidedBy(by string, at time.Time) []pair {
	return []pair{{"decided_by", by}, {"decided_at", at.UTC().Format("2006-01-02T15:04:05.000Z07:00")}}
}

// plainProblems are errors that say all in being what they are. The first that fits
// counts.
var plainProblems = []struct {
	err  error
	code code
	text string
}{
	{journal.ErrLost, codeContentLost, "what it was is not here any more: send it anew"},
	{journal.ErrNotDead, codeNotDeadLetter, "it is no dead letter: it is open, or ended for a reason that is none of delivery"},
	{inbound.ErrHomeUnreachable, codeHomeUnreachable, "the sidecar that accepted this intent cannot be reached just now"},
	{journal.ErrNotFound, codeIntentNotFound, "no such intent at this sidecar: it is known where it was accepted and where it is held"},
	{journal.ErrNoThread, codeThreadNotFound, "no such thread in this inbox: a thread is where its intent was accepted, and where it is held"},
	{journal.ErrThreadFull, codeThreadFull, "the thread has no room for another entry, or another reader: delete messages of it"},
	{journal.ErrIllegal, codeInvalidTransition, "the intent's status does not allow this"},
	{journal.ErrLeaseLost, codeLeaseLost, "the lease is not the one in force; nothing was changed"},
	{journal.ErrKeyLost, codeIdempotencyConflict, "the Idempotency-Key was used before, and for what is lost at this sidecar: look whether it is there, and send it under another key if it is not"},
	{journal.ErrKeyConflict, codeIdempotencyConflict, "the Idempotency-Key was used before with another body or other options"},
	{journal.ErrTooLarge, codePayloadTooLarge, "the intent does not fit one journal batch"},
	{journal.ErrTooManyAgents, codeTooManyAgents, "too many distinct unknown destinations; known ones are still accepted"},
	{journal.ErrTooMany, codeRateLimited, "there are as many of these at this sidecar as it keeps; what is there can still be replaced"},
	{journal.ErrTooManyAccounts, codeTooManyAccounts, "as many service accounts, or keys of one in force, as may be: revoke or delete what is not used"},
	{journal.ErrKilled, codePolicyDenied, "the sending agent has been killed at this sidecar: nothing from it is taken until it is resumed"},
	{journal.ErrFailed, codeJournalFailed, "the journal has failed: whether this was stored is unknown; repeat with the same Idempotency-Key"},
	{journal.ErrFull, codeJournalFull, "the disk is nearly full: nothing new is taken until there is room again"},
	{journal.ErrClosed, codeDraining, "the sidecar is stopping"},
	{journal.ErrExpired, codeIntentEnded, "the intent's time is over; its home ends it"},
	{inbound.ErrNotServed, codeAgentNotFound, "this sidecar does not serve that agent, and learns none (--learn=off)"},
	{inbound.ErrPushed, codeWrongBinding, "this agent receives by http: its intents are sent to its app, and nobody can ask for them"},
	{inbound.ErrBusy, codeRateLimited, "too many requests wait for this agent's intents"},
	{journal.ErrFault, codeSidecarFault, "the sidecar failed on this one request, which has changed nothing"},
	{context.Canceled, codeInterrupted, "the request ended before the answer was known; repeat it"},
	{context.DeadlineExceeded, codeInterrupted, "the request ended before the answer was known; repeat it"},
}

// tooLarge is of a body, or an item of one: the limit is for all of it, not for the
// payload in it.
func tooLarge(what string, limit int64) *problem {
	p := refuse(codePayloadTooLarge, "%s, with all that is in it, is larger than the limit of %d bytes", what, limit)
	p.extra = []pair{{"limit_bytes", strconv.FormatInt(limit, 10)}}
	return p
}

// writeError appends the AXP error object: it takes no other fields than
// these, and its details are strings.
func (p *problem) writeError(d *doc, at time.Time) {
	k := p.code.entry()
	d.open('{').str("code", string(p.code)).str("message", p.message()).str("category", k.category)
	d.boolean("retryable", k.retryable).time("at", at)
	d.key("details").open('{')
	for i, f := range p.faults {
		first := slices.IndexFunc(p.faults, func(g fault) bool { return g.Pointer == f.Pointer })
		if first == i { // a name is in an object once
			d.str(f.Pointer, f.Detail)
		}
	}
	for _, x := range p.extra {
		d.str(x.name, x.value)
	}
	d.close('}').close('}')
}

// write answers the request with the problem.
func (p *problem) write(w http.ResponseWriter, requestID string) {
	k := p.code.entry()
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", false)
	d.str("type", "urn:pannier:error:"+string(p.code)).str("title", k.title).num("status", int64(k.status))
	d.str("detail", p.message()).str("instance", "urn:uuid:"+requestID)
	d.key("error")
	p.writeError(d, time.Now())
	if len(p.faults) > 0 {
		d.key("errors").open('[')
		for _, f := range p.faults {
			d.item().open('{').str("pointer", f.Pointer).str("detail", f.Detail).close('}')
		}
		d.close(']')
	}
	d.close('}')

	h := w.Header()
	for _, x := range p.header {
		h.Set(x.name, x.value)
	}
	if after := p.retryAfter(); after > 0 {
		h.Set("Retry-After", strconv.Itoa(after))
	}
	h.Del("Location")
	writeJSON(w, k.status, "application/problem+json", d)
}

// retryAfter is in whole seconds: clients ignore dates, and SDKs block their
// caller for as long as it says.
func (p *problem) retryAfter() int {
	if p.retry > 0 {
		return int((p.retry + time.Second - 1) / time.Second)
	}
	return p.code.entry().retryAfter
}
