package journal

import (
	"cmp"
	"time"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

// claimBytes bounds the envelopes one Due returns; one alone may be larger.
const claimBytes = 1 << 20

// Due returns up to max intents of the destination that may be offered now,
// oldest first, leaving out those for which skip says so, and when the next
// will be due (zero: none). It starts from a remembered place, which an insert
// before it moves back: what is in flight may come up again, and skip leaves it out.
func (j *Journal) Due(a Agent, now time.Time, max int, skip func(ID) bool) (offers []Offer, next time.Time, err error) {
	return j.DuePart(a, 0, now, max, skip)
}

// DuePart is Due from a place of its own: several readers that divide a
// destination's intents among them each pass over what the others take, however
// far behind those are. Parts are few numbers from 0: each costs a key.
func (j *Journal) DuePart(a Agent, part int, now time.Time, max int, skip func(ID) bool) (offers []Offer, next time.Time, err error) {
	if err := j.running(); err != nil {
		return nil, time.Time{}, err
	}
	c := j.indexes.part(agentPrefix(classDue, a), part)
	bytes := 0
	next, stopped := c.scan(j, now, func(txn *page, due time.Time, id ID) bool {
		if len(offers) >= max || bytes >= claimBytes {
			return false
		}
		if skip(id) {
			return true
		}
		var o Offer
		var ok bool
		rerr := j.guard(func() (err error) { o, ok, err = readOffer(txn, id, due, j.birth); return err })
		if rerr != nil {
			return j.passOver(id, rerr, &err)
		}
		if ok {
			o.Deadline, o.DeliverBy, o.Policy.Deadline = j.clock.limit(o.Deadline), j.clock.limit(o.DeliverBy), j.clock.limit(o.Policy.Deadline)
			offers, bytes = append(offers, o), bytes+len(o.Envelope)
		}
		return true
	})
	return offers, next, cmp.Or(err, stopped)
}

// passOver decides what a scan does at a record it cannot read: one that is
// corrupt is reported and looked into, and must not block what comes after
// it; any other error ends the scan.
func (j *Journal) passOver(id ID, err error, failed *error) (more bool) {
	if isFault(err) {
		j.warn(err.Error())
		j.suspect(id, err)
		return true
	}
	*failed = err
	return false
}

// readOffer reads what an offer needs; ok is false where the index is wrong
// about the intent: the head decides.
func readOffer(txn *page, id ID, due time.Time, birth *wire.Birth) (o Offer, ok bool, err error) {
	var h wire.Head
	found, err := readMessage(txn, idKey(classHead, id), &h)
	if err != nil || !found || Place(h.Place) != PlaceDue || h.DueMs != due.UnixMilli() {
		return Offer{}, false, err
	}
	env, found, err := readEnvelope(txn, id)
	if err == nil && !found { // it was lost while another journal had it
		err = &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: "it is missing"}
	}
	if err != nil {
		return Offer{}, false, err
	}
	o = Offer{
		ID: id, OfferNo: h.OfferNo, Due: due, Envelope: env, Deadline: at(h.DeadlineAtMs), Attempts: h.Attempts,
		Redelivered: h.OfferNo > 1 || h.DeliveryAttempt > 0 || h.Redelivered || h.Boot < birth.LossBoot, Taken: h.Taken, Continued: h.Continued, Handovers: h.DeliveryAttempt, Old: h.Boot != birth.Boot, Previous: h.Traceparent,
	}
	o.Policy = policyOf(id, &h)
	if !h.Taken {
		o.DeliverBy = at(h.DeliverByMs)
	}
	if len(h.Holder) > 0 {
		o.Holder = ID(h.Holder)
	}
	var e wire.Envelope
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(env, &e); err != nil {
		return Offer{}, false, &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: err.Error()}
	}
	o.Receiver, o.Completion = e.ReceiverDurability, len(e.CompletionOf) > 0
	o.Task = len(e.HumanTask) > 0
	return o, true, nil
}

// Rewind makes the intents of the destination that are due at or after due
// ones that Due returns again, of every part.
func (j *Journal) Rewind(a Agent, due time.Time) {
	j.indexes.lower(agentPrefix(classDue, a), dueKey(classDue, a, due.UnixMilli(), ID{}))
}

// RewindMail is Rewind for a mailbox.
func (j *Journal) RewindMail(a Agent, due time.Time) {
	j.indexes.lower(agentPrefix(classMail, a), dueKey(classMail, a, due.UnixMilli(), ID{}))
}

// DueAgents lists the destinations that have an intent in the due index, lanes of
// completions included.
func (j *Journal) DueAgents() []Agent {
	var out []Agent
	next, end := Agent(0), Agent(j.names.count())
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false
	_ = j.views(func(txn *page) (more bool, err error) {
		it := txn.NewIterator(opts)
		defer it.Close()
		for ; next < end && !txn.full(); next++ {
			prefix := agentPrefix(classDue, next)
			if it.Seek(prefix); it.ValidForPrefix(prefix) {
				out = append(out, next)
			}
		}
		return next < end, nil
	}) // the only error is that the journal has stopped: then nothing is due
	return out
}
