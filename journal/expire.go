package journal

import (
	"context"
	"errors"
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// expiry returns when the intent runs out of time, and for what reason; zero
// where it does not. Taken intents are no longer bound by deliver_by.
func (l *life) expiry() (time.Time, state.Reason) {
	deadline := at(l.head.DeadlineAtMs)
	by := at(l.head.DeliverByMs)
	if !l.head.Taken && !by.IsZero() && (deadline.IsZero() || by.Before(deadline)) {
		return by, state.ReasonDeliverBy
	}
	return deadline, state.ReasonDeadline
}

// expireAt puts the intent into the expiry index, where it is found when it has run out
// of time, or somebody is to be reminded of it. It is not moved when the
// intent is taken: the sweep that comes to it then puts it where it belongs,
// which saves two writes in the life of nearly every intent.
func (t *tx) expireAt(l *life) {
	if l.head.ExpiryMs != 0 {
		t.delIndex(timeKey(classExpiry, l.head.ExpiryMs, l.id[:]))
	}
	when, _ := l.expiry()
	for _, sooner := range []time.Time{at(l.head.RemindMs), at(l.head.WakeMs)} {
		if !sooner.IsZero() && (when.IsZero() || sooner.Before(when)) {
			when = sooner
		}
	}
	if when.IsZero() {
		when = never // the index is also what counts open intents
	}
	l.head.ExpiryMs = ms(when)
	key := timeKey(classExpiry, l.head.ExpiryMs, l.id[:])
	t.putIndex(key)
	due := l.head.ExpiryMs
	t.inserted([]byte{classExpiry}, key, func() { t.j.expirySoon(due) })
}

// expirySoon wakes the sweep when an entry is due before it would wake itself.
func (j *Journal) expirySoon(due int64) {
	if due >= j.expiryNext.Load() {
		return
	}
	select {
	case j.expiryWake <- struct{}{}:
	default:
	}
}

const (
	expiryBatch = 500
	expiryRest  = time.Minute // the longest sleep of the sweep
)

// expiryLoop ends intents whose time is up. They are found by the index alone,
// so what ran out while the process was down ends at the first sweep.
func (j *Journal) expiryLoop(ctx context.Context) {
	c := j.indexes.cursor([]byte{classExpiry})
	sleep := newPause()
	defer sleep.timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.stopped:
			return
		case <-j.expiryWake:
		case <-sleep.now:
		case <-sleep.timer.C:
		}
		now, ok := j.keepTime(ctx)
		if !ok {
			j.expiryNext.Store(ms(now.Add(clockRest)))
			sleep.set(clockRest)
			continue
		}
		var due []ID
		next, err := c.scan(j, j.clock.forLimits(now), func(_ *page, _ time.Time, id ID) bool {
			due = append(due, id)
			return len(due) < expiryBatch
		})
		if err != nil {
			return
		}
		ops := make([]*op, len(due))
		for i, id := range due {
			ops[i] = &op{about: id, run: func(t *tx) error { return t.expire(id) }}
		}
		if err := j.do(ctx, first, ops...); err != nil && (errors.Is(err, ErrFailed) || errors.Is(err, ErrClosed) || ctx.Err() != nil) {
			return
		}
		rest := min(expiryRest, j.untilNext(next))
		j.expiryNext.Store(ms(j.now().Add(rest)))
		sleep.set(rest)
		if again := c.pending(); !again.IsZero() && ms(again) < j.expiryNext.Load() {
			j.expirySoon(ms(again)) // inserted between the scan and the line above
		}
	}
}

func (j *Journal) untilNext(next time.Time) time.Duration {
	if next.IsZero() {
		return expiryRest
	}
	return max(0, next.Sub(j.clock.forLimits(j.now())))
}

func (t *tx) expire(id ID) error {
	l, found, err := t.life(id)
	if err != nil || !found || !l.open() {
		return err
	}
	when, reason := l.expiry()
	if wake := at(l.head.WakeMs); !wake.IsZero() && !wake.After(t.now) && (when.IsZero() || !wake.After(when)) {
		_, err := t.end(l, state.Complete, &wire.Event{Actor: actorSelf}, []byte("{}"), "")
		return err
	}
	if when.IsZero() || when.After(t.now) {
		if err := t.remind(l); err != nil {
			return err
		}
		t.expireAt(l)
		return t.saveLife(l)
	}
	text := "it was not taken in time"
	if reason == state.ReasonDeadline {
		text = "it had not ended in time"
	}
	switch {
	case reason != state.ReasonDeadline:
	case l.head.Step:
		reason = state.ReasonStepTimeout
	case l.asksForParent():
		reason, text = state.ReasonGateExpired, "nobody decided in time"
	}
	_, err = t.end(l, state.Expire, &wire.Event{Actor: actorSelf, Reason: uint32(reason)},
		deliveryError("intent_timeout", reason, text, l.head.Attempts), text)
	return err
}
