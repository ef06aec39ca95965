package journal

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// What goes wrong with one intent stays with it. An operation that panics has changed
// nothing, and would again whenever its time comes: the intent it is about ends as a dead
// letter for sidecar_fault, in the next batch, and before anybody hears that the operation
// failed. At a holder it is rejected, and home is told why. So does one of which a record
// cannot be read.
//
// What we do by ourselves (timers, leases, reports, offers) sets an intent aside the first
// time: nobody else would ever notice. What an app or a person asks for does so the third
// time: it may be what was asked for that is at fault, and whoever asks hears of it.
const (
	faultsAsked = 3
	faultsMost  = 1024 // intents of which that is counted; then all are counted anew
)

// blame is an intent that something has failed for, while the operation went on.
type blame struct {
	id  ID
	why error
}

// guard runs f so that a panic of it is an error, said with its stack.
func (j *Journal) guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil && panicInStore() {
			err = j.storePanics(r)
		} else if r != nil {
			j.warn(fmt.Sprintf("panic in a journal operation: %v\n%s", r, debug.Stack()))
			err = fmt.Errorf("%w: %v", ErrFault, r)
		}
	}()
	return f()
}

// attempt runs one way to do what an operation is for; where it fails, or no batch has room
// for what it writes, nothing of the operation is left.
func (t *tx) attempt(f func() error) error {
	err := t.j.guard(f)
	if err == nil && !t.op.fitsAlone() {
		err = ErrTooLarge
	}
	if err != nil {
		t.drop()
	}
	return err
}

// isFault reports whether an error is neither an answer nor the disk's: what is on record of
// an intent cannot be worked on.
func isFault(err error) bool {
	if err == nil {
		return false
	}
	var corrupt *CorruptError // costs an allocation
	return errors.Is(err, ErrFault) || errors.As(err, &corrupt)
}

// exceptFault is what goes on without a record that cannot be worked on, but not without one
// that the store cannot read just now.
func exceptFault(err error) error {
	if isFault(err) {
		return nil
	}
	return err
}

// panics lets a test break what is done with an intent.
func (j *Journal) panics(where string, id ID) {
	if j.planted != nil {
		j.planted(where, id)
	}
}

// setsAside returns the operations that set aside what this one has failed for. Whoever
// waits for it hears when that is durable: else it might be done again at once.
func (j *Journal) setsAside(t *tx, o *op) (aside []*op) {
	for _, b := range t.blamed {
		q := j.quarantine(b)
		q.done = func(error) {}
		aside = append(aside, q)
	}
	if o.about.IsZero() || !j.isToBlame(o) {
		return aside
	}
	var corrupt *CorruptError
	if errors.As(o.err, &corrupt) {
		if other, ok := intentOf(corrupt.Key); ok && other != o.about {
			j.suspect(other, corrupt) // it met a record of another
		}
	}
	told, q := o.done, j.quarantine(blame{o.about, o.err})
	o.done = func(error) {}
	q.done = func(err error) {
		if err == nil {
			err = o.err
		}
		told(err)
	}
	return append(aside, q)
}

func (j *Journal) isToBlame(o *op) bool {
	switch {
	case errors.Is(o.err, ErrTooLarge):
		return !o.asked // it would be for ever
	case !isFault(o.err):
		return false
	case !o.asked || !errors.Is(o.err, ErrFault):
		return true
	}
	if len(j.faults) >= faultsMost {
		clear(j.faults)
	}
	j.faults[o.about]++
	return j.faults[o.about] >= faultsAsked
}

// quarantine is the operation that sets an intent aside.
func (j *Journal) quarantine(b blame) *op {
	return &op{run: func(t *tx) error { return t.setAsideWhole(b, nil) }}
}

// setAsideWhole ends an intent in the best way that works; mend comes before each try.
func (t *tx) setAsideWhole(b blame, mend func() error) error {
	delete(t.j.faults, b.id)
	var failed error
	for _, end := range t.endings() {
		failed = t.attempt(func() error {
			if mend != nil {
				if err := mend(); err != nil {
					return err
				}
			}
			return end(b.id, b.why)
		})
		if failed == nil || errors.Is(failed, errStore) {
			return failed
		}
	}
	t.j.warn(fmt.Sprintf("intent %s cannot even be set aside, and stays where it is: %v, for %v", b.id, failed, b.why))
	return nil
}

// endings are the ways to end what cannot be worked on, the best first. What has failed may
// be a part of the end itself: then the intent ends without all that comes of an end.
func (t *tx) endings() []func(ID, error) error {
	return []func(ID, error) error{
		func(id ID, why error) error { return t.endFaulty(id, why, (*tx).endWhole) },
		func(id ID, why error) error { return t.endFaulty(id, why, (*tx).endBare) },
	}
}

// endFaulty ends an intent as a dead letter; one of another home is rejected, so that home
// does. One that has ended stays as it is, but see keepEnded. Where its head or hand-over itself cannot be
// read, the scrub mends that first: only the indexes say where the intent is.
func (t *tx) endFaulty(id ID, why error, end func(*tx, *life, *wire.Event, []byte) error) error {
	var corrupt *CorruptError
	if errors.As(why, &corrupt) {
		if _, err := t.setAside(id); err != nil {
			return err
		}
	}
	l, homed, err := t.readableLife(id)
	if err != nil && !isFault(err) {
		return err
	}
	if err != nil {
		t.after(func() { t.j.suspect(id, err) })
		return nil
	}
	text := faultText(why)
	if homed {
		if !l.open() {
			if corrupt == nil {
				return nil
			}
			return t.keepEnded(l)
		}
		if err := t.mendEnvelope(l); err != nil {
			return err
		}
		e := &wire.Event{Actor: actorSelf, Reason: uint32(state.ReasonSidecarFault), Text: text}
		if err := end(t, l, e, deliveryError("sidecar_fault", state.ReasonSidecarFault, text, l.head.Attempts)); err != nil {
			return err
		}
		t.counted(id, why)
		return nil
	}
	h, held, err := t.hand(id)
	if err != nil && !isFault(err) {
		return err
	}
	if err != nil {
		t.after(func() { t.j.suspect(id, err) })
		return nil
	}
	if !held {
		return nil
	}
	if !h.phase().Open() {
		return t.keepSettled(h)
	}
	t.counted(id, why)
	return t.rejectFaulty(h, text)
}

// faultText is what people read of it.
func faultText(why error) string {
	var corrupt *CorruptError
	if errors.As(why, &corrupt) {
		return CorruptRecord + ": " + corrupt.Why
	}
	return cut(why.Error(), maxText)
}

func (t *tx) counted(id ID, why error) {
	t.after(func() {
		t.j.figures.faults.Add(1)
		if f := t.j.hooks.Faulty; f != nil {
			f(id, why)
		}
	})
}

// endWhole is the end of an intent like any other.
func (t *tx) endWhole(l *life, e *wire.Event, body []byte) error {
	t.j.panics("whole", l.id)
	_, err := t.end(l, state.Fail, e, body, e.Text)
	return err
}

// endBare ends an intent and nothing else: nobody is told, its parts stay, and who waits for
// it as for a part ends in the same way.
func (t *tx) endBare(l *life, e *wire.Event, body []byte) error {
	for {
		t.j.panics("bare", l.id)
		ended, local, ok, err := t.close(l, state.Fail, e, body, e.Text)
		if err != nil || !ok {
			return err
		}
		if err := t.leave(l, ended, local); err != nil {
			return err
		}
		if len(l.head.Parent) == 0 {
			return nil
		}
		parent, found, err := t.life(ID(l.head.Parent))
		if err != nil || !found || !parent.open() {
			return exceptFault(err) // what of it cannot be read is another's fault
		}
		if err := t.partEnded(parent.id, l); err != nil {
			return err
		}
		l, e = parent, &wire.Event{Actor: actorSelf, Reason: e.Reason, Text: "a part of it has failed: " + e.Text}
	}
}

// partEnded notes the end of a part, and moves nothing.
func (t *tx) partEnded(parent ID, l *life) error {
	p, err := t.plan(parent)
	if err != nil || int(l.head.Part) >= len(p.Parts) {
		return exceptFault(err) // it cannot be noted
	}
	p.Parts[l.head.Part].Status = l.head.Status
	return t.savePlan(parent, p)
}

// rejectFaulty lets home end what cannot be worked on here.
func (t *tx) rejectFaulty(h *hand, text string) error {
	row, err := t.step(h, state.Refuse, time.Time{})
	if err != nil {
		return err
	}
	h.see(state.Fail)
	h.rec.LastError = cut(text, 500)
	if err := t.saveHand(h); err != nil {
		return err
	}
	return t.tell(h, row.Tells, &wire.Report{Text: text, Attempt: h.rec.Handovers, Attempts: h.rec.Attempts, Reason: uint32(state.ReasonSidecarFault)})
}
