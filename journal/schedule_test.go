package journal_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

func (w *world) schedule(s *wire.Schedule) journal.ID {
	w.Helper()
	if s.Template = envelope(); s.EveryMs == 0 && s.Cron == "" {
		s.EveryMs = 600_000
	}
	kept, _, err := w.j.AddSchedule(w.Context(), s, nil)
	if err != nil {
		w.Fatal(err)
	}
	return journal.ID(kept.Id)
}

// runsOf is what a schedule has done, as minutes since it was made: "10" is an intent,
// "20-40" one for several times, "-50" none. Each intent is there, under its id.
func (w *world) runsOf(id journal.ID) string {
	w.Helper()
	s, said := w.j.Schedule(id), []string{}
	minute := func(ms int64) int64 { return (ms - s.CreatedMs) / 60_000 }
	for _, run := range s.Runs {
		text := fmt.Sprint(minute(run.DueMs))
		if run.SinceMs != 0 {
			text = fmt.Sprintf("%d-%s", minute(run.SinceMs), text)
		}
		if len(run.Intent) == 0 {
			text = "!" + text
		} else if made := w.get(journal.ScheduledID(id, time.UnixMilli(run.DueMs))); made.Envelope == nil || journal.ID(run.Intent) != made.ID {
			w.Errorf("the run %s has the intent %x, and there is %v", text, run.Intent, made)
		}
		said = append(said, text)
	}
	return fmt.Sprint(said)
}

// count is how many intents there are.
func (w *world) count() int {
	w.Helper()
	for _, b := range w.j.Backlogs() {
		if b.Name == journal.BacklogOpen {
			return b.Count
		}
	}
	return 0
}

func TestScheduleMakesWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		id := w.schedule(&wire.Schedule{})
		paused := w.schedule(&wire.Schedule{})
		if _, err := w.j.PauseSchedule(t.Context(), paused, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Minute)
		if got := w.runsOf(id); got != "[10 20 30]" {
			t.Errorf("after 31 minutes: %s", got)
		}
		s := w.j.Schedule(id)
		if i := w.get(journal.ID(s.Runs[0].Intent)); i.Status() != state.Submitted || i.Envelope.CorrelationId != i.ID.String() || i.Envelope.DeliverByMs-i.Envelope.CreatedAtMs != journal.DefaultDeliverBy.Milliseconds() {
			t.Errorf("it made %v", i.Envelope)
		}
		if _, err := w.j.PauseSchedule(t.Context(), paused, false); err != nil {
			t.Fatal(err)
		}
		if err := w.j.RemoveSchedule(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := w.j.RemoveSchedule(t.Context(), id); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		time.Sleep(11 * time.Minute)
		if got := w.runsOf(paused); got != "[41]" {
			t.Errorf("resumed at minute 31: %s", got)
		}
		if n := w.count(); n != 4 {
			t.Errorf("%d intents are open, want 4", n)
		}
		w.whole()
	})
}

// What was missed while the process was down is one intent, none, or one each, as the
// schedule says; and then it goes on as ever.
func TestScheduleOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		once := w.schedule(&wire.Schedule{})
		skip := w.schedule(&wire.Schedule{Misfire: uint32(journal.MisfireSkip)})
		all := w.schedule(&wire.Schedule{Misfire: uint32(journal.MisfireAll)})
		cron := w.schedule(&wire.Schedule{Cron: "*/10 * * * *"}) // the bubble begins at midnight
		time.Sleep(15 * time.Minute)
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(40 * time.Minute)
		w.open(journal.Options{})
		time.Sleep(6 * time.Minute)
		for _, row := range []struct {
			id   journal.ID
			want string
		}{{once, "[10 20-50 60]"}, {skip, "[10 !20-50 60]"}, {all, "[10 20 30 40 50 60]"}, {cron, "[10 20-50 60]"}} {
			if got := w.runsOf(row.id); got != row.want {
				t.Errorf("misfire %d, cron %q: %s, want %s", w.j.Schedule(row.id).Misfire, w.j.Schedule(row.id).Cron, got, row.want)
			}
		}
		w.whole()
	})
}

// Not even a schedule that is to make up for all fills the journal after a year.
func TestScheduleCatchesUpWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		id := w.schedule(&wire.Schedule{Cron: "* * * * *", Misfire: uint32(journal.MisfireAll)})
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(365 * 24 * time.Hour)
		w.open(journal.Options{})
		synctest.Wait()
		time.Sleep(time.Second)
		if n := w.count(); n < journal.MaxCatchUp || n > journal.MaxCatchUp+2 {
			t.Errorf("%d intents were made, want %d for what was missed and those on time", n, journal.MaxCatchUp)
		}
		if s := w.j.Schedule(id); s.NextMs < time.Now().UnixMilli() || s.NextMs > time.Now().Add(time.Minute).UnixMilli() {
			t.Errorf("it is due next at %s", time.UnixMilli(s.NextMs))
		}
	})
}

func TestScheduleThatMustNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		id := w.schedule(&wire.Schedule{SkipOverlap: true})
		time.Sleep(25 * time.Minute)
		if got := w.runsOf(id); got != "[10 !20]" {
			t.Errorf("while its first intent is open: %s", got)
		}
		if _, err := w.j.Answer(t.Context(), journal.ID(w.j.Schedule(id).Runs[0].Intent), journal.Answer{Trigger: state.Cancel}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if got := w.runsOf(id); got != "[10 !20 30]" {
			t.Errorf("after that has ended: %s", got)
		}
	})
}

// An intent that is refused costs its time, and its schedule says why.
func TestScheduleOfAKilledAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		id := w.schedule(&wire.Schedule{})
		if err := w.j.SetKilled(t.Context(), envelope().FromAgent, true, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Minute)
		if got := w.runsOf(id); got != "[!10]" || w.j.Schedule(id).Runs[0].Why == "" {
			t.Errorf("%s: %v", got, w.j.Schedule(id).Runs)
		}
	})
}

// TestScheduleOverAFailedCommit: the commit that makes an intent is lost, or is there and
// nobody hears: after the next start there is one intent and the next time either way.
func TestScheduleOverAFailedCommit(t *testing.T) {
	for _, persist := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := setup(t)
			id := w.schedule(&wire.Schedule{})
			w.j.FailCommit(1, persist)
			if _, err := w.j.PauseSchedule(t.Context(), id, false); err != nil { // writes nothing; the committer knows of the fault from here on
				t.Fatal(err)
			}
			time.Sleep(10*time.Minute + time.Second)
			if w.j.Err() == nil {
				t.Fatal("the commit did not fail")
			}
			w.killed()
			time.Sleep(2 * time.Second)
			if got := w.runsOf(id); got != "[10]" || w.count() != 1 {
				t.Errorf("persisted %v: %s, %d intents; want the one", persist, got, w.count())
			}
			w.whole()
		})
	}
}

func TestScheduleInAJournalThatIsEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		id := w.schedule(&wire.Schedule{})
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		w.open(journal.Options{NoSchedules: true})
		time.Sleep(11 * time.Minute)
		if got := w.runsOf(id); got != "[]" {
			t.Errorf("it has made %s", got)
		}
	})
}

// Each intent of a schedule waits for the approvals that the schedule says, and is shown
// to all whom its task names.
func TestScheduleAsksEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		gated := w.schedule(&wire.Schedule{Plan: &wire.Plan{Parts: []*wire.Part{part(0, false, "boss")}}})
		task := &wire.Schedule{EveryMs: 600_000, Template: envelope(), AskedOf: []string{"zoe"}}
		task.Template.HumanTask = []byte(`{"title":"?"}`)
		if _, _, err := w.j.AddSchedule(t.Context(), task, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(21 * time.Minute)
		runs := w.j.Schedule(gated).Runs
		if len(runs) != 2 || len(w.due()) != 0 {
			t.Fatalf("%d runs, and %d intents are offered that nobody has approved", len(runs), len(w.due()))
		}
		for _, run := range runs {
			if got := w.stand(journal.ID(run.Intent)); got != "?" {
				t.Errorf("the gates of a run stand %q, want ?", got)
			}
		}
		if err := w.decide(journal.ID(runs[0].Intent), 0, true); err != nil {
			t.Fatal(err)
		}
		if offers := w.due(); len(offers) != 1 || offers[0].ID != journal.ID(runs[0].Intent) {
			t.Errorf("offered are %v, want what was approved", offers)
		}
		if got, _ := w.changed("zoe", 0); len(got) != 2 {
			t.Errorf("zoe has %d threads, want 2", len(got))
		}
		w.whole()
	})
}

// However many ask at once, there are no more than may be: those that one batch makes and
// removes count.
func TestNoMoreThanMayBeAtOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var made atomic.Int32
	var all sync.WaitGroup
	for n := range 300 {
		all.Go(func() {
			s := &wire.Schedule{Template: envelope(), EveryMs: 600_000, Paused: true}
			if _, _, err := w.j.AddSchedule(t.Context(), s, nil); err == nil {
				made.Add(1)
			} else if !errors.Is(err, journal.ErrTooMany) {
				t.Error(err)
			}
			if _, _, err := w.j.PutSchema(t.Context(), &wire.Schema{SemanticType: fmt.Sprintf("a.b.c.v%d", n), Json: []byte("{}")}, nil); err != nil && !errors.Is(err, journal.ErrTooMany) {
				t.Error(err)
			}
			if _, _, err := w.j.Subscribe(t.Context(), &wire.Subscription{Owner: "a", CallbackUrl: fmt.Sprintf("http://127.0.0.1:1/%d", n)}, nil); err != nil && !errors.Is(err, journal.ErrTooMany) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(w.j.Schedules()) != 256 || made.Load() != 256 {
		t.Errorf("%d schedules, %d said to be made, want 256", len(w.j.Schedules()), made.Load())
	}
	if schemas, subscriptions := len(w.j.Schemas()), len(w.j.Subscriptions()); schemas != 256 || subscriptions != 256 {
		t.Errorf("%d schemas and %d subscriptions, want 256 of each", schemas, subscriptions)
	}
	if err := w.j.RemoveSchedule(t.Context(), journal.ID(w.j.Schedules()[0].Id)); err != nil {
		t.Fatal(err)
	}
	w.schedule(&wire.Schedule{})
}

// Schedules, limits and reminders over a month with a week of it down, in which clocks
// are put forward: nine o'clock stays nine o'clock, what was missed is one intent, and
// nothing ends before its time.
func TestTimersOverAMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(time.Date(2000, 3, 20, 12, 0, 0, 0, berlin))) // the 26th has 23 hours
		w := setup(t)
		nine := w.schedule(&wire.Schedule{Cron: "0 9 * * *", TimeZone: "Europe/Berlin"})
		e := envelope()
		e.HumanTask, e.Reminders = []byte("{}"), &wire.Reminders{AfterMs: (5 * 24 * time.Hour).Milliseconds(), Most: 2, EscalateTo: "boss"}
		limit := time.Now().Add(30 * 24 * time.Hour)
		got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e, Deadline: limit}})
		if err != nil || got[0].Err != nil {
			t.Fatal(err, got)
		}
		until := func(then time.Time) {
			t.Helper()
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(then))
			w.open(journal.Options{})
			time.Sleep(2 * time.Second)
		}
		day := func(d, h, m int) time.Time { return time.Date(2000, 3, d, h, m, 0, 0, berlin) }
		until(day(21, 8, 59))
		time.Sleep(2 * time.Minute)
		until(day(28, 8, 30)) // a week, over the change
		until(day(28, 8, 59).Add(50 * time.Second))
		time.Sleep(2 * time.Minute)
		var said []string
		for _, run := range w.j.Schedule(nine).Runs {
			said = append(said, time.UnixMilli(run.DueMs).In(berlin).Format("2 15:04"))
			if run.SinceMs != 0 {
				said[len(said)-1] += time.UnixMilli(run.SinceMs).In(berlin).Format(" for 2 15:04")
			}
		}
		if got := fmt.Sprint(said); got != "[21 09:00 27 09:00 for 22 09:00 28 09:00]" {
			t.Errorf("it was due %s", got)
		}
		until(day(34, 12, 0)) // the second reminder
		until(day(40, 12, 0))
		until(limit.Add(-time.Minute))
		if s := w.status(got[0].ID); s != state.Waiting {
			t.Errorf("a minute before its deadline the task is %s", s)
		}
		until(limit)
		if s := w.status(got[0].ID); s != state.TimedOut {
			t.Errorf("at its deadline the task is %s", s)
		}
		if reminded, escalated := remindersOf(t, w, got[0].ID); len(reminded) != 2 || escalated == 0 {
			t.Errorf("reminded after %v s, escalated after %d", reminded, escalated)
		}
		w.whole()
	})
}
