package journal

import (
	"bytes"
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

// forgetKey forgets one with its entry, which was made when it was used, or soon after.
func (s *salvager) forgetKey(key []byte) {
	s.remove(key)
	var d wire.Dedupe
	if _, err := readMessage(s.txn, key, &d); err != nil {
		return // it is said
	}
	used := timeKey(classForget, d.CreatedMs+keepKeys.Milliseconds(), nil)
	eachKey(s.txn, []byte{classForget}, used, func(entry []byte) (more bool) {
		if !bytes.Equal(entry[9:], key[1:]) {
			return true
		}
		s.do(func(t *tx) error { t.delIndex(entry); return nil })
		return false
	})
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
