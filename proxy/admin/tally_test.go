package admin_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/proxy/admin"
)

type groups struct {
	At     time.Time
	Groups []struct {
		Agent    string `json:"to_agent"`
		Reason   string
		Cause    string
		Code     string
		Redriven bool
		Count    int
		Oldest   time.Time
		Newest   time.Time
	}
	More    bool
	Waiting struct{ Count int } `json:"waiting_for_operator"`
}

// Dead letters are told by kind, as they stand when somebody asks.
func TestDeadLettersByKind(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ids := []journal.ID{w.die(t), w.die(t), w.die(t)}
	if a := w.say("POST", "/v1/admin/dead-letters/"+ids[0].String()+"/redrive", ""); a.Code != 200 {
		t.Fatalf("redrive: %d %s", a.Code, a.Body)
	}
	got := decode[groups](t, w.ask("GET", "/v1/admin/dead-letters/groups"))
	if len(got.Groups) != 2 || got.More || got.At.IsZero() {
		t.Fatalf("%+v", got)
	}
	for i, want := range []struct {
		count    int
		redriven bool
	}{{2, false}, {1, true}} {
		if g := got.Groups[i]; g.Count != want.count || g.Redriven != want.redriven || g.Agent != billing || g.Reason != "rejected" || g.Cause != "too_large" || g.Oldest.IsZero() {
			t.Errorf("group %d: %+v, want %+v", i, g, want)
		}
	}
}

// sums are counts that the test sets; a count that hangs ends when hang is closed.
type sums struct {
	n     atomic.Int64
	hangs atomic.Bool
	hang  chan struct{}
	err   error
}

func (s *sums) CountDead(int) ([]journal.DeadCount, bool, error) {
	if s.hangs.Load() {
		<-s.hang
	}
	n := int(s.n.Add(1))
	return []journal.DeadCount{{DeadKind: journal.DeadKind{Reason: state.ReasonRejected}, Count: n}}, false, s.err
}
func (s *sums) CountWaiting(int) (int, time.Time, bool, error) { return 0, time.Time{}, false, s.err }
func (s *sums) AgentName(journal.Agent) string                 { return billing }

// A journal that hangs keeps nobody waiting: who asks is told what was counted last, and
// when. What has not changed is not counted again.
func TestTallyOfAJournalThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var seq atomic.Uint64
		s := &sums{hang: make(chan struct{})}
		s.hangs.Store(true)
		tally := admin.NewTally(s, seq.Load)
		done := make(chan error)
		go func() { done <- tally.Run(ctx) }()
		h := admin.New(admin.Source{Tally: tally, Health: func() admin.Health { return admin.Health{} }}, nil, slog.New(slog.DiscardHandler))
		ask := func() groups {
			r := httptest.NewRequest("GET", "/v1/admin/dead-letters/groups", nil)
			r.Host = "localhost"
			a := httptest.NewRecorder()
			h.ServeHTTP(a, r)
			return decode[groups](t, a)
		}
		counted := func(got groups, want int) {
			t.Helper()
			if n := len(got.Groups); want == 0 && (n != 0 || !got.At.IsZero()) || want > 0 && (n != 1 || got.Groups[0].Count != want) {
				t.Fatalf("got %+v, want count %d", got, want)
			}
		}
		began := time.Now()
		counted(ask(), 0)
		if took := time.Since(began); took == 0 || took > time.Second {
			t.Errorf("with a journal that hangs it took %s", took)
		}
		close(s.hang)
		synctest.Wait()
		counted(ask(), 1)
		counted(ask(), 1)
		seq.Add(1)
		counted(ask(), 2)
		s.err = errors.New("a disk that fails")
		seq.Add(1)
		counted(ask(), 2)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
