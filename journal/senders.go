package journal

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

// senderOf is in whose name an intent was sent. Completions are in nobody's name but
// home's.
func senderOf(e *wire.Envelope) string {
	if len(e.CompletionOf) > 0 {
		return ""
	}
	return e.FromAgent
}

// maxSender is the longest sender that a hand-over has beside its envelope: longer than
// any address a sidecar accepts. A record stays small whatever a home sends.
const maxSender = 512

// noteSender is what a hand-over says of it; nil: nothing.
func noteSender(e *wire.Envelope) *string {
	if sender := senderOf(e); len(sender) <= maxSender {
		return &sender
	}
	return nil
}

// Senders lists the agents in whose name a home has sent what we have from it,
// and what we have reports about that it has not acked, in order. It reads what the
// hand-overs say, and the envelopes of those only that were held before hand-overs
// said it: each connect asks, and envelopes may be a hundred thousand of a megabyte.
func (j *Journal) Senders(home ID) ([]string, error) {
	agents := map[string]struct{}{}
	add := func(txn *page, id ID, rec *wire.Handover) error {
		if rec.FromAgent != nil {
			agents[*rec.FromAgent] = struct{}{}
			return nil
		}
		blob, found, err := readEnvelope(txn, id)
		if err != nil || !found {
			return err
		}
		var e wire.Envelope
		if err := proto.Unmarshal(blob, &e); err != nil {
			return &CorruptError{Key: chunkKey(classEnvelope, id, 0), Why: err.Error()}
		}
		agents[senderOf(&e)] = struct{}{}
		return nil
	}
	var failed error
	err := j.eachMail([]byte{classMail}, func(m Mail, rec *wire.Handover) bool {
		if m.Home == home {
			failed = j.view(func(txn *page) error { return add(txn, m.ID, rec) })
		}
		return failed == nil
	})
	if err = cmp.Or(err, failed); err != nil {
		return nil, err
	}
	err = eachOf(j, idKey(classReport, home), func() *wire.Report { return &wire.Report{} }, func(txn *page, _ []byte, r *wire.Report, bad error) error {
		if bad != nil {
			return bad
		}
		var rec wire.Handover
		if _, err := readMessage(txn, idKey(classHandover, ID(r.Id)), &rec); err != nil {
			return err
		}
		return add(txn, ID(r.Id), &rec)
	})
	delete(agents, "")
	return slices.Sorted(maps.Keys(agents)), err
}
