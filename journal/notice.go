package journal

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"pannier/journal/wire"
)

const (
	// NoticeType is the intent type of a delivery of a webhook event.
	NoticeType = "webhook.event.v1"

	subscriberScheme = "webhook:"
	// noticeSource is who publishes what happens to threads.
	noticeSource = "pannier"
	// changeNotices is how many subscribers hear of one change of a thread: their
	// deliveries are one commit with it, which must fit beside the largest outcome.
	changeNotices = 32
)

// What subscribers hear of threads.
const (
	ThreadCreated = "inbox.thread_created"
	ThreadUpdated = "inbox.thread_updated"
	ReplyReceived = "inbox.reply_received"
)

// SubscriberAddress is where the deliveries of a subscription go: no address that
// an app can name, so that none but the sidecar sends there or asks there.
func SubscriberAddress(subscription ID) string { return subscriberScheme + subscription.String() }

// InForce reports whether events are sent to a subscription.
func InForce(s *wire.Subscription) bool { return s.Active && s.RevokedMs == 0 }

// Subscribes reports whether a subscription is for an event.
func Subscribes(s *wire.Subscription, n *wire.Notice) bool {
	return InForce(s) && (s.Owner == "" || s.Owner == n.Owner) && slices.Contains(s.EventTypes, n.EventType)
}

// Delivery is the intent that brings a notice to a subscription. The event's id is the
// webhook-id of all its deliveries, replays too.
func Delivery(id ID, n *wire.Notice, s *wire.Subscription, body []byte) Accept {
	return Accept{Envelope: &wire.Envelope{
		IntentType: NoticeType, FromAgent: n.Owner, ToAgent: SubscriberAddress(ID(s.Id)),
		CorrelationId: id.String(), FirstId: id[:], Payload: body,
	}}
}

// NoticeBody is what subscribers are sent.
func NoticeBody(id ID, n *wire.Notice, now time.Time) []byte {
	if n.AcceptedMs != 0 {
		now = at(n.AcceptedMs)
	}
	body, err := json.Marshal(struct {
		ID        string `json:"event_id"`
		EventType string `json:"event_type"`
		Type      string `json:"type"`
		Timestamp string `json:"timestamp"`
		Source    string `json:"source"`
		Owner     string `json:"owner_agent"`
	}{id.String(), n.EventType, n.EventType, now.UTC().Format("2006-01-02T15:04:05.000Z07:00"), n.Source, n.Owner})
	if err != nil {
		panic(err) // texts always encode
	}
	// The payload's bytes are those that were published.
	body = append(body[:len(body)-len("}")], `,"payload":`...)
	return append(append(body, n.Payload...), '}')
}

// raise publishes what a change of a thread is to those in whose inboxes it is, in the
// batch of the change: each hears of it, once, or it has not happened.
func (t *tx) raise(th *thread) error {
	if t.mute {
		return nil
	}
	subs := t.j.Subscriptions()
	left := changeNotices
	for _, v := range th.rec.Views {
		if len(subs) == 0 {
			return nil
		}
		kinds := []string{ThreadUpdated}
		if slices.Contains(th.fresh, v.Owner) {
			kinds[0] = ThreadCreated
		}
		if th.repliedBy != 0 && th.repliedBy != v.Owner {
			kinds = append(kinds, ReplyReceived)
		}
		for _, kind := range kinds {
			if err := t.publish(th, kind, t.j.AgentName(Agent(v.Owner)), subs, &left); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) publish(th *thread, kind, owner string, subs []*wire.Subscription, left *int) error {
	n := &wire.Notice{EventType: kind, Source: noticeSource, Owner: owner, AcceptedMs: ms(t.now)}
	var to []*wire.Subscription
	for _, s := range subs {
		if Subscribes(s, n) && *left > 0 {
			to = append(to, s)
			*left--
		}
	}
	if len(to) == 0 {
		return nil
	}
	last := th.rec.Entries[len(th.rec.Entries)-1]
	n.Payload = details("thread_id", th.id.String(), "intent_id", th.id.String(), "owner_agent", owner, "status", ThreadStatus(th.rec.Status).String(),
		"intent_type", th.rec.IntentType, "from_agent", th.rec.FromAgent, "to_agent", th.rec.ToAgent, "last_event", last.Type, "actor", cut(last.Actor, 255))
	id := NewID()
	body := NoticeBody(id, n, t.now)
	for _, s := range to {
		if err := t.announce("a change of a thread at "+ID(s.Id).String(), func() error { return t.deliverNotice(id, n, s, body) }); err != nil {
			return err
		}
	}
	return t.put(idKey(classNotice, id), n)
}

// deliverNotice accepts the delivery of a notice to one subscription.
func (t *tx) deliverNotice(id ID, n *wire.Notice, s *wire.Subscription, body []byte) error {
	d, one := Delivery(id, n, s, body), NewID()
	env, err := t.j.encodeEnvelope(&d, one, t.now)
	if err != nil {
		return err
	}
	var res Accepted
	err = t.accept(&d, one, env, &res)
	if errors.Is(err, ErrKilled) || errors.Is(err, ErrTooManyAgents) || errors.Is(err, ErrFull) {
		return nil // nothing is sent in the name of a killed agent, and its thread is changed all the same
	}
	if err == nil {
		n.Deliveries = append(n.Deliveries, one[:])
	}
	return err
}
