package journal_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// TestManyExpireAtOnce: of what ran out while the process was down all ends, not one sweep's worth.
func TestManyExpireAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		all := accepts(2*journal.ExpiryBatch + 10)
		for i := range all {
			all[i].Deadline = time.Now().Add(time.Minute)
		}
		if _, err := w.j.Accept(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.open(journal.Options{})
		time.Sleep(2 * time.Second)
		w.wantBacklog(journal.BacklogOpen, 0, 0)
		w.wantBacklog(journal.BacklogDead, len(all), 0)
		w.whole()
	})
}

// TestLimitsOfTime: of the limits that an intent has the one ends it that is first, and none that
// it has not, or that is no limit of it any more.
func TestLimitsOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		in := func(d time.Duration) time.Time {
			if d == 0 {
				return time.Time{}
			}
			return time.Now().Add(d)
		}
		rows := map[string]struct {
			by, deadline time.Duration
			taken        bool
			reminder     time.Duration
			gated        bool
			ends         time.Duration // 0: never
			why          state.Reason

			id journal.ID
		}{
			"not taken":                {by: time.Minute, deadline: time.Hour, ends: time.Minute, why: state.ReasonDeliverBy},
			"taken":                    {by: time.Minute, deadline: 3 * time.Minute, taken: true, ends: 3 * time.Minute, why: state.ReasonDeadline},
			"taken, for ever":          {by: time.Minute, taken: true},
			"a deadline alone":         {deadline: 2 * time.Minute, ends: 2 * time.Minute, why: state.ReasonDeadline},
			"a deadline and reminders": {deadline: 2 * time.Minute, reminder: 3 * time.Minute, ends: 2 * time.Minute, why: state.ReasonDeadline},
			"asked about, with no limit for taking it": {deadline: 2 * time.Minute, gated: true, ends: 2 * time.Minute, why: state.ReasonDeadline},
			"later than we look":                       {by: time.Hour, deadline: 2 * time.Hour},
		}
		for name, row := range rows {
			e := envelope()
			if row.reminder > 0 {
				e.HumanTask, e.Reminders = []byte(`{"title":"?"}`), &wire.Reminders{AfterMs: row.reminder.Milliseconds(), Most: 1}
			}
			a := journal.Accept{Envelope: e, DeliverBy: in(row.by), Deadline: in(row.deadline)}
			if row.gated {
				a.Plan = &wire.Plan{Parts: []*wire.Part{part(1, false, "boss")}}
			}
			got, err := w.j.Accept(t.Context(), []journal.Accept{a})
			if err != nil || got[0].Err != nil {
				t.Fatal(err, got)
			}
			row.id = got[0].ID
			if row.taken {
				if _, err := w.j.Answer(t.Context(), row.id, journal.Answer{Trigger: state.Start}); err != nil {
					t.Fatal(err)
				}
			}
			rows[name] = row
		}
		for at := 30 * time.Second; at < 5*time.Minute; at += time.Minute {
			time.Sleep(30 * time.Second)
			for name, row := range rows {
				i := w.get(row.id)
				if ended := i.Status() == state.TimedOut; ended != (row.ends > 0 && at > row.ends) || ended && i.DeadReason() != row.why {
					t.Errorf("%s, after %v: %s, %s", name, at, i.Status(), i.DeadReason())
				}
			}
			time.Sleep(30 * time.Second)
		}
		w.whole()
	})
}

// TestExpiryGoesOn: what cannot be ended keeps nothing else from ending, then and later.
func TestExpiryGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		all := accepts(3)
		for i := range all {
			all[i].Deadline = time.Now().Add([]time.Duration{time.Minute, time.Minute, 2 * time.Minute}[i])
		}
		got, err := w.j.Accept(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		w.breakAt(got[0].ID, "run")
		time.Sleep(2*time.Minute + 2*time.Second)
		w.wantAside(got[0].ID)
		for _, a := range got[1:] {
			if s := w.status(a.ID); s != state.TimedOut {
				t.Errorf("%s, want TIMED_OUT", s)
			}
		}
		w.whole()
	})
}
