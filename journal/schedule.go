package journal

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/journal/timetable"
	"pannier/journal/wire"
)

// Misfire is what becomes of the times that a schedule missed while its sidecar was
// down, or its clock was put forward.
type Misfire uint32

const (
	MisfireOnce Misfire = iota // one intent for all of them
	MisfireSkip                // none
	MisfireAll                 // one for each, for at most MaxCatchUp
)

const (
	// MaxScheduled is the size of the largest intent of a schedule, as it is asked for.
	MaxScheduled = 64 << 10
	// MaxCatchUp is how many missed times in a row get an intent each with MisfireAll.
	MaxCatchUp = 100

	maxSchedules = 256 // in memory whole: with MaxScheduled, 32 MiB at most
	keptRuns     = 10
	// lateAfter is how late a time is missed. Less is a busy machine.
	lateAfter = time.Minute
	// scheduleRest is the longest sleep of the loop: a clock that was put forward is
	// noticed within it.
	scheduleRest = time.Minute
)

// schedules are all there are, in memory.
type schedules struct {
	wake chan struct{}
	mu   struct {
		sync.RWMutex
		byID map[ID]*wire.Schedule // never changed once they are here
	}
}

func newSchedules() *schedules {
	s := &schedules{wake: make(chan struct{}, 1)}
	s.mu.byID = map[ID]*wire.Schedule{}
	return s
}

func (s *schedules) load(txn *page) error {
	return eachRecord(txn, []byte{classSchedule}, func() *wire.Schedule { return &wire.Schedule{} },
		func(key []byte, one *wire.Schedule) { s.set(ID(key[1:17]), one) })
}

// set keeps a schedule; nil: there is none any more.
func (s *schedules) set(id ID, one *wire.Schedule) {
	s.mu.Lock()
	if s.mu.byID[id] = one; one == nil {
		delete(s.mu.byID, id)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ScheduledID is the id of the intent that a schedule makes for a time: the same however
// often it is made.
func ScheduledID(schedule ID, due time.Time) ID {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(append([]byte("pannier schedule "), schedule[:]...), uint64(ms(due))))
	var id ID
	binary.BigEndian.PutUint64(id[:8], uint64(ms(due))<<16) // where it belongs in the order of time
	copy(id[6:], sum[:])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

// TableOf is when a schedule is due.
func TableOf(s *wire.Schedule) (timetable.Table, error) {
	if s.Cron == "" {
		return timetable.Every(time.Duration(s.EveryMs) * time.Millisecond), nil
	}
	return timetable.Cron(s.Cron, s.TimeZone)
}

// AddSchedule makes a schedule, durably, and returns it as it is kept: under another id
// where its key has made one before, and nil where that one is gone.
func (j *Journal) AddSchedule(ctx context.Context, in *wire.Schedule, key *Key) (kept *wire.Schedule, replayed bool, err error) {
	table, err := TableOf(in)
	if err != nil {
		return nil, false, err
	}
	id := NewID()
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		thing, err := t.once(key, id[:])
		if err != nil {
			return err
		}
		if thing != nil {
			kept, replayed = j.Schedule(ID(thing)), true
			return nil
		}
		if n, err := t.countOf(classSchedule, len(j.Schedules())); err != nil || n >= maxSchedules {
			return cmp.Or(err, ErrTooMany)
		}
		kept = proto.CloneOf(in)
		kept.Id, kept.CreatedMs, kept.NextMs = id[:], ms(t.now), ms(table.Next(t.now))
		return t.putSchedule(id, kept)
	}})
	return kept, replayed, err
}

// PauseSchedule lets a schedule make nothing more, or go on: from the next time it is
// due on, since what came while it was paused was not meant to be.
func (j *Journal) PauseSchedule(ctx context.Context, id ID, pause bool) (kept *wire.Schedule, err error) {
	err = j.do(ctx, first, &op{run: func(t *tx) error {
		kept = &wire.Schedule{}
		found, err := t.get(idKey(classSchedule, id), kept)
		switch {
		case err != nil:
			return err
		case !found:
			return ErrNotFound
		case kept.Paused == pause && kept.Fault == "":
			return nil
		}
		kept.Paused, kept.Fault, kept.CaughtUp = pause, "", 0
		if !pause {
			table, err := TableOf(kept)
			if err != nil {
				return err
			}
			kept.NextMs = ms(table.Next(t.now))
		}
		return t.putSchedule(id, kept)
	}})
	return kept, err
}

// RemoveSchedule ends a schedule. What it has made stays as it is.
func (j *Journal) RemoveSchedule(ctx context.Context, id ID) error {
	return j.do(ctx, first, &op{run: func(t *tx) error {
		key := idKey(classSchedule, id)
		if found, err := t.has(key); err != nil || !found {
			return errors.Join(err, ErrNotFound)
		}
		t.del(key)
		t.after(func() { j.schedules.set(id, nil) })
		return nil
	}})
}

func (t *tx) putSchedule(id ID, s *wire.Schedule) error {
	s.UpdatedMs = ms(t.now)
	t.after(func() { t.j.schedules.set(id, s) })
	return t.put(idKey(classSchedule, id), s)
}

// Schedule returns one, nil where there is none. It is not to be changed.
func (j *Journal) Schedule(id ID) *wire.Schedule {
	j.schedules.mu.RLock()
	defer j.schedules.mu.RUnlock()
	return j.schedules.mu.byID[id]
}

// Schedules lists them in the order they were made. They are not to be changed.
func (j *Journal) Schedules() []*wire.Schedule {
	j.schedules.mu.RLock()
	defer j.schedules.mu.RUnlock()
	return slices.SortedFunc(maps.Values(j.schedules.mu.byID), func(a, b *wire.Schedule) int { return bytes.Compare(a.Id, b.Id) })
}

// scheduleLoop makes what is due. When is in the records alone, so what became due while
// the process was down is found at the first look.
func (j *Journal) scheduleLoop(ctx context.Context) {
	sleep := newPause()
	defer sleep.timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.stopped:
			return
		case <-j.schedules.wake:
		case <-sleep.now:
		case <-sleep.timer.C:
		}
		if !j.clock.mayFire() {
			sleep.set(clockRest)
			continue
		}
		rest, now := scheduleRest, j.now()
		for _, s := range j.Schedules() {
			if s.Paused {
				continue
			}
			if wait := at(s.NextMs).Sub(now); wait > 0 && !aheadOf(s, now) {
				rest = min(rest, wait)
				continue
			}
			if err := j.fire(ctx, ID(s.Id)); err != nil {
				return // the journal is closing, or has failed
			}
		}
		sleep.set(rest) // what was made has moved its schedule on, which wakes us
	}
}

// fire does what is due of a schedule. An error says that the journal takes nothing more.
func (j *Journal) fire(ctx context.Context, id ID) error {
	err := j.do(ctx, third, &op{run: func(t *tx) error { return t.fire(id, "") }})
	if err == nil || over(ctx, err) {
		return err
	}
	// It is refused: the time passes, and the schedule says why. Crashed here, it is tried
	// again at the next start.
	why := err.Error()
	if errors.Is(err, ErrFull) { // it stays due
	} else if err = j.do(ctx, third, &op{run: func(t *tx) error { return t.fire(id, why) }}); err == nil || over(ctx, err) {
		return err
	}
	j.warn(fmt.Sprintf("schedule %s cannot be moved on: %v", id, err))
	select { // rather than at once, for ever
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	return nil
}

// aheadOf reports whether a schedule was moved on by a clock that was far ahead: it would
// rest until then. By less it makes nothing again of what it has made.
func aheadOf(s *wire.Schedule, now time.Time) bool { return at(s.UpdatedMs).Sub(now) > longBack }

func over(ctx context.Context, err error) bool {
	return errors.Is(err, ErrFailed) || errors.Is(err, ErrClosed) || ctx.Err() != nil
}

// fire makes the intent of the time that is due and moves the schedule on to the next: one
// commit, so a crash before it has done neither, and one after it both. refused is why no
// intent can be made; "": try.
func (t *tx) fire(id ID, refused string) error {
	s := &wire.Schedule{}
	found, err := t.get(idKey(classSchedule, id), s)
	ahead := aheadOf(s, t.now)
	if err != nil || !found || s.Paused || s.NextMs > ms(t.now) && !ahead || !t.j.clock.mayFire() {
		return err
	}
	table, err := TableOf(s)
	if err != nil { // its zone was known when it was made, elsewhere or before an update
		s.Paused, s.Fault = true, err.Error()
		return t.putSchedule(id, s)
	}
	if ahead && s.NextMs > ms(t.now) {
		s.NextMs = ms(table.Next(t.now))
		return t.putSchedule(id, s)
	}
	run, next := t.turn(s, table)
	if run.Why == "" {
		run.Why = refused
	}
	if run.Why == "" && s.SkipOverlap {
		if run.Why, err = t.stillOpen(s); err != nil {
			return err
		}
	}
	if run.Why == "" {
		made := ScheduledID(id, at(run.DueMs))
		if err := t.acceptScheduled(s, made, run); err != nil {
			return err
		}
		run.Intent = made[:]
	}
	s.Runs = append(s.Runs, run)
	s.Runs = s.Runs[max(0, len(s.Runs)-keptRuns):]
	if s.NextMs = ms(next); next.IsZero() {
		s.Paused, s.Fault = true, "it is never due again"
	}
	return t.putSchedule(id, s)
}

// turn is the time that is due, with those missed that it stands for, and the one after it.
func (t *tx) turn(s *wire.Schedule, table timetable.Table) (run *wire.ScheduleRun, next time.Time) {
	due := at(s.NextMs)
	run = &wire.ScheduleRun{DueMs: s.NextMs}
	late := t.now.Add(-lateAfter)
	if due.After(late) {
		s.CaughtUp = 0
		return run, table.Next(due)
	}
	last := due
	switch misfire := Misfire(s.Misfire); {
	case misfire == MisfireAll && s.CaughtUp < MaxCatchUp:
		s.CaughtUp++
	case misfire == MisfireOnce:
		last = table.Last(due, t.now)
	default:
		last = table.Last(due, late) // a later one is not missed
		run.Why = "missed: the sidecar was down, or its clock was put forward"
		if misfire == MisfireAll {
			run.Why = fmt.Sprintf("missed, after %d others that were made up for", MaxCatchUp)
		}
	}
	if run.DueMs = ms(last); last.After(due) {
		run.SinceMs = ms(due)
	}
	return run, table.Next(last)
}

// stillOpen names the last intent of a schedule where it has not ended.
func (t *tx) stillOpen(s *wire.Schedule) (why string, err error) {
	for _, run := range slices.Backward(s.Runs) {
		if len(run.Intent) == 0 {
			continue
		}
		l, found, err := t.life(ID(run.Intent))
		if err == nil && found && l.open() {
			why = fmt.Sprintf("the one before it, %s, has not ended", l.id)
		}
		return why, err
	}
	return "", nil
}

func (t *tx) acceptScheduled(s *wire.Schedule, id ID, run *wire.ScheduleRun) error {
	a := &Accept{
		Envelope:  proto.CloneOf(s.Template),
		Plan:      s.Plan,
		Asked:     s.AskedOf,
		DeliverAt: t.now.Add(time.Duration(s.DelayMs) * time.Millisecond),
		text:      fmt.Sprintf("due %s by schedule %s", at(run.DueMs).UTC().Format(time.RFC3339), ID(s.Id)),
	}
	if a.Envelope.CorrelationId == "" {
		a.Envelope.CorrelationId = id.String()
	}
	// A clock that was far ahead may have made it before.
	if made, err := t.has(idKey(classHead, id)); err != nil || made {
		return err
	}
	env, err := t.j.encodeEnvelope(a, id, t.now)
	if err != nil {
		return err
	}
	var res Accepted
	return t.accept(a, id, env, &res)
}
