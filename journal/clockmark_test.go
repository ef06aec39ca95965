package journal_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
)

// How long a clock has held after a jump is known over a restart, and what passes while the
// process is down counts.
func TestJumpHoldsOverARestart(t *testing.T) {
	for name, row := range map[string]struct {
		runs, down, after time.Duration
		paused            bool
	}{
		"it has held while it ran":     {runs: 3 * time.Minute, after: 2*time.Minute + 15*time.Second},
		"it has held while it did not": {runs: 2 * time.Second, down: 5 * time.Minute, after: 15 * time.Second},
		"it has not held for as long":  {runs: 2 * time.Minute, down: 2 * time.Minute, after: 50 * time.Second, paused: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := setupWrong(t, 0)
				time.Sleep(time.Second)
				w.set(5*time.Minute, false)
				time.Sleep(row.runs)
				w.after(row.down)
				time.Sleep(row.after)
				if c := w.j.Stats().Clock; c.Paused != row.paused {
					t.Errorf("the clock: %+v", c)
				}
			})
		})
	}
}

// How the clock stands is on record within a second, though nothing is committed: a process that
// is killed knows it afterwards.
func TestJumpIsKnownAfterAKill(t *testing.T) {
	for name, row := range map[string]struct {
		jumps []time.Duration
		stays time.Duration
		ahead time.Duration
	}{
		"ahead":           {[]time.Duration{20 * time.Minute}, 2 * time.Second, 20 * time.Minute},
		"further ahead":   {[]time.Duration{20 * time.Minute, 50 * time.Minute}, 2 * time.Second, 50 * time.Minute},
		"ahead, and held": {[]time.Duration{20 * time.Minute, 0}, 3 * time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := setupWrong(t, 0)
				time.Sleep(2 * time.Second)
				for _, jump := range row.jumps {
					w.set(jump, false)
					time.Sleep(row.stays)
				}
				w.j.Abandon()
				w.start(journal.Options{})
				if c := w.j.Stats().Clock; c.Paused != (row.ahead != 0) || c.Ahead.Round(time.Second) != row.ahead {
					t.Errorf("the clock: %+v, want it %s ahead", c, row.ahead)
				}
			})
		})
	}
}

// The time on record is at most an hour old: a clock that is put back while the machine is off is
// found by it.
func TestTimeIsOnRecordEachHour(t *testing.T) {
	if journal.MarkIsNews(59*time.Minute) || !journal.MarkIsNews(time.Hour) {
		t.Error("the time on record is not written when it is an hour old")
	}
}
