package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

// Of an idempotency key that is lost the index still says that it was used, and until when that
// counts. Until then it is refused: what it was used for may be here, and would be done twice.

// refuseKey has a key be one of which nobody knows what it was used for.
func (s *salvager) refuseKey(forget []byte) {
	hash := forget[9:]
	until := int64(binary.BigEndian.Uint64(forget[1:9]))
	s.refused++
	s.do(func(t *tx) error {
		return t.put(append([]byte{classDedupe}, hash...), &wire.Dedupe{Lost: true, CreatedMs: until - keepKeys.Milliseconds()})
	})
}

// forgetKey forgets one with its entry.
func (s *salvager) forgetKey(key []byte) {
	if s.forgets == nil {
		s.forgets = map[string][]byte{}
		eachKey(s.txn, []byte{classForget}, nil, func(entry []byte) bool {
			s.forgets[string(entry[9:])] = entry
			return true
		})
	}
	s.remove(key)
	if entry, there := s.forgets[string(key[1:])]; there {
		s.do(func(t *tx) error { t.delIndex(entry); return nil })
	}
}

func (s *salvager) sayKeys() {
	if s.refused > 0 {
		s.j.loss.addEntries(fmt.Sprintf("%d idempotency keys are refused until their day is over, as nobody knows what they were used for", s.refused))
	}
}

// sayUnkeyed names the intents of the last day that were sent with a key by which they are not
// found any more: where its entry is gone, too, the same may be sent again.
func (j *Journal) sayUnkeyed(txn *page) error {
	keyed, unkeyed := map[ID]bool{}, map[ID]bool{}
	err := eachRecord(txn, []byte{classDedupe}, func() *wire.Dedupe { return &wire.Dedupe{} }, func(_ []byte, d *wire.Dedupe) {
		if id, err := IDOf(d.Id); err == nil {
			keyed[id] = true
		}
	})
	since := ms(j.now().Add(-keepKeys))
	err = errors.Join(err, eachRecord(txn, []byte{classHead}, func() *wire.Head { return &wire.Head{} }, func(key []byte, h *wire.Head) {
		id := ID(key[1:17])
		if h.CreatedMs < since || keyed[id] {
			return
		}
		var e wire.Envelope
		blob, found, err := readEnvelope(txn, id) // where it cannot be read that is said
		if err == nil && found && proto.Unmarshal(blob, &e) == nil && e.IdempotencyKey != "" {
			unkeyed[id] = true
		}
	}))
	if len(unkeyed) > 0 {
		j.loss.addEntries("intents have lost their idempotency key: " + namesOf(unkeyed))
	}
	return err
}
