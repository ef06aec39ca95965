package inbound

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

// busyRetry is when an offer refused for want of room may come again.
const busyRetry = 500 * time.Millisecond

// refusedMost bounds the refusals a home has not read.
const refusedMost = 1 << 16

// handle acts on a frame of home. One that we cannot work on costs the stream, not the
// process: home sends it again, on the next.
func (ss *session) handle(ctx context.Context, f *peer.Frame) (err error) {
	defer func() {
		if r := recover(); r != nil {
			ss.s.log.Error("panic at a frame of a home", "peer", ss.home.Journal.String(), "err", fmt.Sprintf("%v\n%s", r, debug.Stack()))
			err = status.Error(codes.Internal, "this sidecar failed on a frame")
		}
	}()
	return ss.act(ctx, f)
}

// act does what a frame says, in field order. An error is a breach of
// the protocol and ends the stream.
func (ss *session) act(ctx context.Context, f *peer.Frame) error {
	if f.Hello != nil {
		return breach(errors.New("a second hello"))
	}
	if f.ReportAck != nil {
		if err := ss.takeAck(ctx, f.ReportAck); err != nil {
			return breach(err)
		}
	}
	if len(f.Revokes) > 0 {
		if err := ss.revoke(ctx, f.Revokes); err != nil {
			return err
		}
	}
	if len(f.Updates) > 0 {
		if err := ss.update(ctx, f.Updates); err != nil {
			return err
		}
	}
	if len(f.Offers) > 0 {
		if err := ss.offered(f.Offers); err != nil {
			return breach(err)
		}
	}
	ss.answerAsks(f.Asks)
	ss.takeAnswers(f.Answers)
	if f.Ping != 0 {
		ss.mu.Lock()
		ss.mu.out.pong = f.Ping
		ss.notify()
		ss.mu.Unlock()
	}
	// What only a holder may say means nothing here.
	return nil
}

func breach(err error) error { return status.Error(codes.InvalidArgument, err.Error()) }

// offered journals offers, pipelined: it returns when they are queued. Each is
// answered held or refused, in order, and held only once it is durable here.
func (ss *session) offered(offers []*peer.Offer) error {
	in := make([]holding, 0, len(offers))
	size := 0
	var broken error
	for _, o := range offers {
		h, taken, err := ss.consider(o)
		if err != nil {
			broken = err
			break // what came before it is good
		}
		if taken {
			in, size = append(in, h), size+len(o.Envelope)
		}
	}
	if len(in) > 0 {
		ss.hold(in, size)
	}
	return broken
}

// consider keeps a place for an offer, or refuses it. Sent again on the next stream, one that
// we cannot work on would end that, too: it is refused for good.
func (ss *session) consider(o *peer.Offer) (h holding, taken bool, err error) {
	var id journal.ID
	defer func() {
		if r := recover(); r != nil && !id.IsZero() {
			ss.s.log.Error("panic at an offer", "intent_id", id.String(), "peer", ss.home.Journal.String(), "err", fmt.Sprintf("%v\n%s", r, debug.Stack()))
			ss.refuse(id, o.OfferNo, faultCode, faultText)
			taken, err = false, nil
		} else if r != nil {
			panic(r)
		}
	}()
	h, unfit, err := ss.readOffer(o)
	if err != nil {
		return h, false, err
	}
	id = h.id
	h.request.Trace.Foreign = ss.peer != nil && ss.peer.Foreign()
	code, text := "schema_invalid", unfit
	if unfit == "" {
		code, text = "policy_denied", ss.denied(&h)
	}
	if text == "" {
		code = ss.admit(&h)
	}
	if code == "" {
		return h, true, nil
	}
	ss.refuse(h.id, o.OfferNo, code, text)
	return h, false, nil
}

const (
	faultCode = "sidecar_fault"
	faultText = "this sidecar cannot work on it"
)

// holding is one offer with the place kept for it.
type holding struct {
	id         journal.ID
	agent      string
	from       string
	intentType string
	completion bool
	task       bool
	request    journal.HoldRequest
	place      place
}

// readOffer reads an offer. An error is one that cannot even be refused; unfit says why nobody
// could be handed it.
func (ss *session) readOffer(o *peer.Offer) (h holding, unfit string, err error) {
	var env wire.Envelope
	if err := proto.Unmarshal(o.Envelope, &env); err != nil {
		return holding{}, "", fmt.Errorf("envelope: %w", err)
	}
	id, err := journal.IDOf(env.Id)
	if err != nil {
		return holding{}, "", fmt.Errorf("envelope: %w", err)
	}
	if id.IsZero() || env.ToAgent == "" || o.OfferNo == 0 {
		return holding{}, "", errors.New("an offer has an id, an agent and a number")
	}
	// The app gets these bytes inside ours: they must not be able to say more
	// than a payload.
	if p := jsontext.Value(env.Payload); p.Kind() != '{' || !p.IsValid() {
		return holding{id: id}, "its payload is no JSON object", nil
	}
	return holding{id: id, agent: env.ToAgent, from: env.FromAgent, intentType: env.IntentType, completion: len(env.CompletionOf) > 0, task: len(env.HumanTask) > 0, request: journal.HoldRequest{
		Envelope: o.Envelope, OfferNo: o.OfferNo, Received: time.Now(), Attempts: o.Attempts, Redelivered: o.Redelivered, Taken: o.Taken, Continued: o.Continued,
		Handovers: o.DeliveryAttempt, DeliverBy: left(o.DeliverByLeftMs), Deadline: left(o.DeadlineLeftMs),
		Policy: journal.Policy{ID: id, Generation: o.PolicyGeneration, MaxAttempts: o.MaxDeliveryAttempts, Work: left(o.WorkTimeoutMs)},
		Trace:  journal.Trace{Offer: o.Traceparent, Previous: o.PreviousTraceparent}, Offered: o.OfferedMs, Waited: o.Waited,
	}}, "", nil
}

// left is a remaining time; one that has run out is not none.
func left(ms int64) time.Duration {
	const longest = int64(1<<63-1) / int64(time.Millisecond)
	if ms < 0 {
		return time.Millisecond
	}
	return time.Duration(min(ms, longest)) * time.Millisecond
}

// admit keeps a place for the offer, or returns why there is none.
func (ss *session) admit(h *holding) (code string) {
	p, err := ss.s.mailbox.admit(ss.home.Journal, h.agent, h.id, h.completion, h.task)
	switch {
	case errors.Is(err, ErrDraining):
		return "draining"
	case errors.Is(err, ErrNotServed):
		return "agent_unknown"
	case err != nil:
		return "busy"
	}
	h.place, h.request.Lease = p, p.lease
	return ""
}

func (ss *session) refuse(id journal.ID, offerNo uint64, code, text string) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if len(ss.mu.out.refused) >= refusedMost {
		ss.end(status.Error(codes.ResourceExhausted, "offers without end, and their answers are not read"))
		return
	}
	ss.mu.out.refused = append(ss.mu.out.refused, &peer.Refused{Id: id[:], OfferNo: offerNo, Code: code, Text: text, RetryAfterMs: uint32(busyRetry.Milliseconds())})
	ss.notify()
}

func (ss *session) hold(in []holding, size int) {
	requests := make([]journal.HoldRequest, len(in))
	for i, h := range in {
		requests[i] = h.request
	}
	ss.reserveHold(size)
	ss.s.j.Hold(ss.home, requests, func(results []journal.HoldResult, err error) {
		// Durable, or refused. If we crash before held is sent, the list of
		// what we hold tells home at the next connect.
		defer ss.holdDone(size)
		for i, h := range in {
			var r journal.HoldResult
			if err == nil {
				r = results[i]
			}
			ss.s.mailbox.taken(h.place, r, err)
		}
		ss.sayHeld(in, results, err)
	})
}

// sayHeld answers the offers. One that our journal would not take is refused:
// home keeps it.
func (ss *session) sayHeld(in []holding, results []journal.HoldResult, err error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for i, h := range in {
		id := h.id
		if err == nil && results[i].Err == nil {
			ss.mu.out.held = append(ss.mu.out.held, &peer.Verdict{Id: id[:], OfferNo: h.request.OfferNo})
			continue
		}
		why := err
		if why == nil {
			why = results[i].Err
		}
		code, text := refusalOf(why)
		ss.mu.out.refused = append(ss.mu.out.refused, &peer.Refused{
			Id: id[:], OfferNo: h.request.OfferNo, Code: code, Text: text, RetryAfterMs: uint32(busyRetry.Milliseconds()),
		})
	}
	ss.notify()
}

// refusalOf is what home is told of an offer that our journal would not take. What is wrong
// with one intent must not keep others away, as a full disk does.
func refusalOf(err error) (code, text string) {
	var corrupt *journal.CorruptError
	switch {
	case errors.Is(err, journal.ErrTooLarge):
		return "too_large", ""
	case errors.Is(err, journal.ErrFault):
		return faultCode, faultText
	case errors.As(err, &corrupt): // what was here of it is being set aside
		return "busy", ""
	}
	return "disk", ""
}

// revoke takes back what home has ended or given to another. An offer of the
// same intent may still be on its way into the journal, which takes endings
// before offers: those are waited for.
func (ss *session) revoke(ctx context.Context, revokes []*peer.Revoke) error {
	verdicts := make([]journal.Verdict, len(revokes))
	for i, r := range revokes {
		id, err := journal.IDOf(r.Id)
		if err != nil {
			return breach(err)
		}
		verdicts[i] = journal.Verdict{ID: id, OfferNo: r.OfferNo, Ended: r.Why == peer.Revoke_ENDED, Status: state.Status(r.Status), Reason: state.Reason(r.Reason), Events: r.Events}
		if r.Why != peer.Revoke_ENDED && r.Why != peer.Revoke_SUPERSEDED {
			return breach(fmt.Errorf("revoke for reason %d", r.Why))
		}
	}
	ss.waitHeld()
	if err := ss.s.j.Revoke(ctx, ss.home.Journal, verdicts); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	return nil
}

// update takes in what was said at home of intents that are here: they go on, or
// wait; or their options have changed. An offer of the same intent may still be on
// its way into the journal: those are waited for.
func (ss *session) update(ctx context.Context, updates []*peer.Update) error {
	words := make([]journal.Continued, 0, len(updates))
	var changed []journal.Update
	for _, u := range updates {
		id, err := journal.IDOf(u.Id)
		if err != nil {
			return breach(err)
		}
		if u.PolicyGeneration > 0 {
			changed = append(changed, journal.Update{Left: left(u.DeadlineLeftMs), Policy: journal.Policy{
				ID: id, Generation: u.PolicyGeneration, MaxAttempts: u.MaxDeliveryAttempts, Work: left(u.WorkTimeoutMs),
			}})
		}
		on := state.Trigger(u.ContinuedBy)
		if u.Continued == 0 {
			continue
		}
		if on != state.Start && on != state.Wait {
			return breach(fmt.Errorf("update continues by trigger %d", u.ContinuedBy))
		}
		words = append(words, journal.Continued{ID: id, OfferNo: u.OfferNo, No: u.Continued, On: u.ContinuedOn, Trigger: on})
	}
	ss.waitHeld()
	if err := ss.s.j.Continue(ctx, ss.home.Journal, words); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	if err := ss.s.j.Adopt(ctx, ss.home.Journal, changed); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	return nil
}

func (ss *session) answerAsks(asks []*peer.Ask) {
	for _, a := range asks {
		answer := ss.s.answer(ss.home.Journal, a)
		ss.mu.Lock()
		if len(ss.mu.out.answers) < asksMax {
			ss.mu.out.answers = append(ss.mu.out.answers, answer)
		} // else home asks faster than it reads, and asks again
		ss.notify()
		ss.mu.Unlock()
	}
}

func (ss *session) takeAnswers(answers []*peer.Answer) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, a := range answers {
		if waits := ss.mu.asks[a.No]; waits != nil {
			waits <- a // buffered, and taken out of the map
			delete(ss.mu.asks, a.No)
		}
	}
}

// answer says what is known here of an intent of the home that asks.
func (s *Server) answer(home journal.ID, a *peer.Ask) *peer.Answer {
	out := &peer.Answer{No: a.No, AtMs: time.Now().UnixMilli()}
	id, err := journal.IDOf(a.Id)
	if err != nil {
		out.Error = "intent_not_found"
		return out
	}
	i, err := s.j.Get(id)
	if err != nil || i.Handover == nil || journal.ID(i.Handover.Home) != home {
		out.Error = "intent_not_found"
		return out
	}
	h := i.Handover
	out.Status, out.Phase, out.Attempts, out.NextDueMs, out.LeaseUntilMs = h.HomeStatus, h.Phase, h.Attempts, 0, h.LeaseUntilMs
	if due := journal.DueAt(h.DueMs); !due.IsZero() {
		out.NextDueMs = due.UnixMilli()
	}
	switch a.What {
	case peer.Ask_STATUS:
		out.Outcome = i.Outcome
	case peer.Ask_WHY:
		if causes := s.mailbox.Why(id); len(causes) > 0 {
			out.Text = causes[0].Cause.String()
			if until := causes[0].Until; !until.IsZero() {
				out.NextDueMs = until.UnixMilli()
			}
		}
	default:
		out.Error = "not_home" // events are home's
	}
	return out
}
