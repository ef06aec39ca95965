package journal

import (
	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

// mendNames removes addresses that cannot be read, puts back those that intents are to, and
// reports whether there were any.
func (s *salvager) mendNames(damages []Damage) (any bool) {
	for _, d := range damages {
		switch {
		case d.Kind == DamagedRecord && d.Key[0] == className:
			s.remove(d.Key)
			any = true
		case !d.Intent.IsZero():
			any = s.rename(d.Intent) || any
		}
	}
	return any
}

// rename puts an address that an intent is to, and that is gone, back under the number that
// the intent knows it by.
func (s *salvager) rename(id ID) bool {
	var h wire.Head
	var hand wire.Handover
	var e wire.Envelope
	blob, found, err := readEnvelope(s.txn, id)
	if err != nil || !found || proto.Unmarshal(blob, &e) != nil {
		return false
	}
	n := &wire.Name{}
	if held, err := readMessage(s.txn, idKey(classHandover, id), &hand); err == nil && held {
		n.No = hand.Agent
	}
	if homed, err := readMessage(s.txn, idKey(classHead, id), &h); err == nil && homed && (!s.named[h.Dest] || s.back[h.Dest]) {
		n.No, n.Threads = h.Dest, len(e.CompletionOf) > 0
	}
	if s.back[n.No] {
		return true // in this round
	}
	key := nameKey((&name{address: e.ToAgent, threads: n.Threads}).key())
	if n.No == 0 || s.named[n.No] || s.has(key) {
		return false
	}
	s.named[n.No], s.back[n.No] = true, true
	s.j.loss.mended++
	s.do(func(t *tx) error { return t.put(key, n) })
	return true
}

func (s *salvager) ownersAreNamed(threadKey []byte) bool {
	var th thread
	if _, err := readMessage(s.txn, threadKey, &th.rec); err != nil {
		return true // it is said, too
	}
	for _, owner := range th.owners() {
		if owner != 0 && !s.named[owner] {
			return false
		}
	}
	return true
}
