package admin

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"pannier/journal"
)

// counter counts what is dead, or would be. It reads the journal.
type counter interface {
	CountDead(most int) (counts []journal.DeadCount, more bool, err error)
	CountWaiting(most int) (n int, oldest time.Time, more bool, err error)
	AgentName(journal.Agent) string
}

// Tally knows how many dead letters there are of each kind. A count reads the journal,
// which may hang, so it has a loop of its own, and who asks is told the last one.
type Tally struct {
	of   counter
	seq  func() uint64 // grows with each change of the journal
	wake chan struct{}
	mu   struct {
		sync.Mutex
		last tallied
		next chan struct{} // closed when last is another
	}
}

// tallied is one count.
type tallied struct {
	at      time.Time // zero: there was none yet
	seq     uint64    // of the journal, when it began
	groups  []deadGroup
	more    bool // there are older dead letters, which were not counted
	waiting waitingAnswer
}

const (
	// tallyMost is how many dead letters are counted.
	tallyMost = 10_000
	// tallyPatience is how long who asks waits for a count of what has just changed.
	tallyPatience = 500 * time.Millisecond
	// maxGroups is how many kinds are told apart.
	maxGroups = 200
)

// NewTally returns a tally that counts nothing before it runs.
func NewTally(of counter, seq func() uint64) *Tally {
	t := &Tally{of: of, seq: seq, wake: make(chan struct{}, 1)}
	t.mu.next = make(chan struct{})
	return t
}

// Run counts whenever somebody wants to know, until ctx ends.
func (t *Tally) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		}
		now, err := t.count()
		if err != nil {
			continue // the journal has failed, and says so itself; the last count stands
		}
		t.mu.Lock()
		t.mu.last = now
		close(t.mu.next)
		t.mu.next = make(chan struct{})
		t.mu.Unlock()
	}
}

// get returns a count of all that was committed by now, or the last one where that takes long.
func (t *Tally) get(ctx context.Context) tallied {
	want := t.seq()
	late := time.NewTimer(tallyPatience)
	defer late.Stop()
	for {
		t.mu.Lock()
		last, next := t.mu.last, t.mu.next
		t.mu.Unlock()
		if !last.at.IsZero() && last.seq >= want {
			return last
		}
		select {
		case t.wake <- struct{}{}:
		default:
		}
		select {
		case <-next:
		case <-late.C:
			return last
		case <-ctx.Done():
			return last
		}
	}
}

func (t *Tally) count() (tallied, error) {
	out := tallied{at: time.Now().UTC(), seq: t.seq()}
	counts, more, err := t.of.CountDead(tallyMost)
	if err != nil {
		return out, err
	}
	out.more = more
	for _, c := range counts {
		out.groups = append(out.groups, deadGroup{
			Agent: t.of.AgentName(c.To), Reason: c.Reason.DeadLetter(), Cause: c.Reason.String(), Code: errorCode(c.Reason), Means: c.Reason.Sentence(),
			Redriven: c.Redriven, Count: c.Count, Oldest: c.Oldest.UTC(), Newest: c.Newest.UTC(),
		})
	}
	slices.SortFunc(out.groups, func(a, b deadGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Cause, b.Cause))
	})
	n, oldest, more, err := t.of.CountWaiting(tallyMost)
	out.waiting = waitingAnswer{Count: n, More: more}
	if n > 0 {
		oldest = oldest.UTC()
		out.waiting.Oldest = &oldest
	}
	return out, err
}

// deadGroup are the dead letters of one agent that ended for one cause, with a successor
// or without.
type deadGroup struct {
	Agent    string    `json:"to_agent"`
	Reason   string    `json:"reason"`
	Cause    string    `json:"cause"`
	Code     string    `json:"code"`
	Means    string    `json:"means"`
	Redriven bool      `json:"redriven"`
	Count    int       `json:"count"`
	Oldest   time.Time `json:"oldest"`
	Newest   time.Time `json:"newest"`
}

// waitingAnswer is how many intents wait for an operator, and have not ended.
type waitingAnswer struct {
	Count  int        `json:"count"`
	More   bool       `json:"more"`
	Oldest *time.Time `json:"oldest,omitempty"`
}

type groupsAnswer struct {
	OK      bool          `json:"ok"`
	At      time.Time     `json:"at,omitzero"` // when it was counted; none: it was not yet
	Total   int           `json:"total"`
	Groups  []deadGroup   `json:"groups"` // the largest first
	More    bool          `json:"more"`   // only the newest were counted
	Waiting waitingAnswer `json:"waiting_for_operator"`
}

// groupDead serves GET /v1/admin/dead-letters/groups, from memory: the journal is read by
// the loop of the tally alone.
func (h *handler) groupDead(w http.ResponseWriter, r *http.Request) {
	got := h.Tally.get(r.Context())
	a := groupsAnswer{OK: true, At: got.at, Total: len(got.groups), Groups: got.groups[:min(len(got.groups), maxGroups)], More: got.more, Waiting: got.waiting}
	if a.Groups == nil {
		a.Groups = []deadGroup{}
	}
	Write(w, http.StatusOK, a)
}
