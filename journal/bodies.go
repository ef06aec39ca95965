package journal

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"pannier/journal/wire"
)

// dropBodies lets payload and result go, and returns what is left of their records. One that
// cannot be read goes as a whole.
func (t *tx) dropBodies(id ID) (left int64, err error) {
	env, err := t.lastEnvelope(id)
	if err != nil {
		return 0, err
	}
	if env == nil {
		err = t.delChunks(classEnvelope, id)
	} else {
		env.Payload, env.HumanTask, env.Reminders = []byte("{}"), nil, nil
		left, err = t.putAgain(classEnvelope, id, env)
	}
	if err != nil {
		return 0, err
	}
	out, err := t.lastOutcome(id)
	if err != nil {
		return 0, err
	}
	if out == nil {
		return left, t.delChunks(classOutcome, id)
	}
	out.Body = nil
	size, err := t.putAgain(classOutcome, id, out)
	return left + size, err
}

// putAgain puts a smaller blob in the place of a larger one.
func (t *tx) putAgain(class byte, id ID, m proto.Message) (size int64, err error) {
	blob, err := proto.Marshal(m)
	if err != nil {
		return 0, err
	}
	if err := t.delChunks(class, id); err != nil {
		return 0, err
	}
	t.putChunks(class, id, blob)
	return int64(len(blob)), nil
}

// lastEnvelope is that of an intent which goes, whatever it says; nil: it cannot be read.
func (t *tx) lastEnvelope(id ID) (*wire.Envelope, error) {
	env, err := t.keptEnvelope(id)
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		t.j.warn(err.Error())
		return nil, nil
	}
	return env, err
}

// lastOutcome is likewise that of what has ended; nil also where there is none.
func (t *tx) lastOutcome(id ID) (*wire.Outcome, error) {
	out := &wire.Outcome{}
	blob, found, err := t.getChunks(classOutcome, id)
	if bad := proto.Unmarshal(blob, out); bad != nil {
		err = &CorruptError{Key: chunkKey(classOutcome, id, 0), Why: bad.Error()}
	}
	if isFault(err) {
		t.j.warn(err.Error())
		return nil, nil
	}
	if err != nil || !found {
		return nil, err
	}
	return out, nil
}
