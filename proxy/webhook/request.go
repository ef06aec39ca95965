package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"runtime/debug"
	"sync/atomic"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/proxy/trace"
)

// Request is one that was made, for those who count.
type Request struct {
	Host   string // HOST:PORT of the URL
	Status int    // of the answer; 0: none came
	Failed bool   // none came, or it broke off
	Took   time.Duration
	Trace  string // traceparent of its span; empty: there is none
}

// send sends one intent, and has what came of it journaled.
//
// If we crash once the app has it and before that is durable, it is sent again,
// marked as redelivered.
func (p *pump) send(ctx context.Context, h *journal.Handed, to *answers) {
	span := p.tracer().Push(h, p.URL)
	v, sent, err := p.attempt(ctx, h, span)
	switch {
	case err == nil:
	case ctx.Err() != nil && sent:
		v = verdict{came: journal.Pushed{Came: journal.Cut}}
	case ctx.Err() != nil:
		p.push.Unsent(h.ID) // and its span is not worth having
		return
	case sent:
		v = failure(p.why(err))
	default:
		v = verdict{shut: inbound.Unreachable, reason: p.why(err)}
	}
	answered := time.Now()
	if v.came.Came == 0 {
		p.log.Info("the app took nothing", "agent", p.agent, "url", p.URL, "reason", v.reason)
		p.push.TurnedAway(h.ID, v.shut, v.least)
		span.End(0, answered, v.shut.String(), true)
		return
	}
	v.came.ID, v.came.Attempt = h.ID, h.Attempt
	span.Note(&v.came)
	to.add(answer{v.came, span, answered})
}

// spanCodes are what is wrong with a push that has come to this, in its span.
var spanCodes = map[journal.Came]string{journal.Refused: "rejected", journal.Failed: "attempt_failed", journal.Cut: "cut_off"}

// tracer is nil also for a subscriber: what it is sent is no message between apps.
func (p *pump) tracer() *trace.Tracer {
	if p.events {
		return nil
	}
	return p.o.Tracer
}

// attempt takes the intent to where it is to go. One on which we panic has failed, and
// uses up its own attempts.
func (p *pump) attempt(ctx context.Context, h *journal.Handed, span trace.Pushing) (v verdict, sent bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			p.log.Error("panic at a push", "intent_id", h.ID.String(), "agent", p.agent, "err", fmt.Sprintf("%v\n%s", r, debug.Stack()))
			v, sent, err = failure(fmt.Sprintf("this sidecar failed on it: %v", r)), true, nil
		}
	}()
	if p.courier != nil {
		return p.carry(ctx, h)
	}
	began := time.Now()
	v, sent, err = p.post(ctx, h, span)
	p.tell(v.status, time.Since(began), span)
	return v, sent, err
}

// post makes one request. sent says whether the app may have seen it.
func (p *pump) post(ctx context.Context, h *journal.Handed, span trace.Pushing) (v verdict, sent bool, err error) {
	secrets, err := p.signing()
	if err != nil {
		return v, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.HTTPTimeout)
	defer cancel()
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	req, err := p.request(ctx, h, secrets)
	if err != nil {
		return v, false, err
	}
	if !p.o.NoTraceHeaders {
		span.Header(req.Header, h)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return v, wrote.Load(), err
	}
	defer resp.Body.Close()
	span.Answered(resp.StatusCode)
	answer, err := io.ReadAll(io.LimitReader(resp.Body, int64(p.o.MaxAnswer)+1))
	switch {
	case err != nil:
		return v, true, fmt.Errorf("its answer broke off: %w", err)
	case len(answer) > p.o.MaxAnswer:
		return failure(fmt.Sprintf("the app's answer %d is larger than %d bytes", resp.StatusCode, p.o.MaxAnswer)), true, nil
	}
	if p.events && resp.StatusCode/100 == 2 {
		return verdict{came: journal.Pushed{Came: journal.Done}, status: resp.StatusCode}, true, nil
	}
	v = judge(resp.StatusCode, resp.Header, answer, h.Redelivered, time.Now())
	v.status = resp.StatusCode
	return v, true, nil
}

// tell counts a request.
func (p *pump) tell(status int, took time.Duration, span trace.Pushing) {
	if p.o.Told == nil {
		return
	}
	var kept journal.Pushed
	span.Note(&kept)
	p.o.Told(Request{Host: p.host, Status: status, Failed: status == 0, Took: took, Trace: kept.Trace})
}

// signing are the secrets of a request.
func (p *pump) signing() ([]Secret, error) {
	switch {
	case !p.events:
		return p.keys.Signing(p.agent)
	case p.Secret.text == "":
		return nil, nil
	}
	return []Secret{p.Secret}, nil
}

func (p *pump) request(ctx context.Context, h *journal.Handed, secrets []Secret) (*http.Request, error) {
	var body []byte
	if p.events {
		body = h.Envelope.Payload
	} else {
		body = p.body(h)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	// Or the transport would send it a second time by itself when a connection
	// breaks, and nobody would count that.
	req.GetBody = nil
	first := h.ID.String()
	if id, err := journal.IDOf(h.Envelope.FirstId); err == nil {
		first = id.String()
	}
	Describe(req.Header, p.o.UserAgent, first, h.Attempt, time.Now(), body, secrets...)
	return req, nil
}

// why is an error of a request in words that name what to look at.
func (p *pump) why(err error) string {
	var unverified *tls.CertificateVerificationError
	var wrapped *url.Error
	switch {
	case errors.Is(err, errOffLoopback):
		return fmt.Sprintf("%s is not called: %v", p.URL, errOffLoopback)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %v", p.o.HTTPTimeout)
	case errors.As(err, &unverified):
		return "its certificate is not trusted: " + unverified.Error()
	case errors.As(err, &wrapped):
		return wrapped.Err.Error()
	}
	return err.Error()
}
