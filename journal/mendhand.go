package journal

import (
	"google.golang.org/protobuf/proto"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// dropHand forgets a hand-over, of which entries and reports are left. Where the intent is our own it
// is offered again; another home offers it again when it has asked what we hold: that it is not listed
// says that we lost it. What our app has answered goes with the report of it.
func (t *tx) dropHand(id ID, ends bool, left [][]byte) error {
	t.del(idKey(classHandover, id))
	if ends {
		return nil
	}
	l, homed, err := t.readableLife(id)
	if err != nil {
		return err
	}
	if homed {
		if l.open() && l.place() == PlaceLocal {
			l.head.Redelivered = true
			t.goTo(l, PlaceDue, t.now, ID{})
			return t.saveLife(l)
		}
		return nil
	}
	for _, key := range left {
		switch key[0] {
		case classReport:
			err = t.reportWhole(key)
		case classRetain, classHistory:
			t.delIndex(key)
		}
		if err != nil {
			return err
		}
	}
	t.del(idKey(classEvents, id))
	for _, class := range []byte{classEnvelope, classOutcome} {
		if err := t.delChunks(class, id); err != nil {
			return err
		}
	}
	t.after(func() {
		if f := t.j.hooks.Lost; f != nil {
			f(id)
		}
	})
	return nil
}

// reportsOf are the reports about an intent that its home has not acked.
func (j *Journal) reportsOf(id ID) (keys [][]byte, err error) {
	err = eachOf(j, []byte{classReport}, func() *wire.Report { return &wire.Report{} }, func(_ *page, key []byte, r *wire.Report, _ error) error {
		if string(r.Id) == string(id[:]) {
			keys = append(keys, key)
		}
		return nil
	})
	return keys, err
}

// reportBody is how many bytes of an answer a report takes with it: its record is one value.
const reportBody = chunkSize / 2

// reportWhole has a report of an answer take that with it, as the outcome beside it goes.
func (t *tx) reportWhole(key []byte) error {
	r := &wire.Report{}
	there, whole, err := t.readable(key, r)
	if err != nil || !there || !whole || state.Fact(r.Fact) != state.FactAnswered {
		return err
	}
	id, err := IDOf(r.Id)
	if err != nil {
		return nil // it is about nothing
	}
	blob, _, err := t.getChunks(classOutcome, id)
	if exceptFault(err) != nil {
		return err
	}
	var out wire.Outcome
	if r.Body = OmittedBody(r); err == nil && proto.Unmarshal(blob, &out) == nil && len(out.Body) <= reportBody {
		r.Body = out.Body
	}
	return t.put(key, r)
}
