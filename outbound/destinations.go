package outbound

import (
	"cmp"
	"slices"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// DestinationStatus is what an operator sees of an agent that something here is for.
type DestinationStatus struct {
	Agent       string     `json:"agent"`
	Completions bool       `json:"completions,omitempty"` // of intents it sent, not those sent to it
	Waiting     int        `json:"waiting"`               // due, and not held anywhere
	Later       int        `json:"later"`                 // due later: delayed, or after a failed attempt
	Oldest      *time.Time `json:"oldest,omitempty"`      // when the first of those waiting became due
	InFlight    int        `json:"in_flight"`             // of those waiting, offered and not answered
	Why         []Waits    `json:"why"`                   // of those waiting that are not in flight; empty: they are being offered
}

// Waits is a state.Delay in words.
type Waits struct {
	Code  string     `json:"code"`
	Text  string     `json:"text"`
	Peer  string     `json:"peer,omitempty"`
	Until *time.Time `json:"until,omitempty"`
}

// destinationsMost bounds the destinations that are listed.
const destinationsMost = 100

// whyMost bounds the causes listed of one of them: it may have many endpoints.
const whyMost = 10

// Destinations lists those something is due for, the most that waits first, and says
// how many there are. It reads memory only.
func (d *Dispatcher) Destinations() (list []DestinationStatus, of int) {
	for _, q := range d.journal.Queues() {
		if q.Name != journal.BacklogDue {
			continue
		}
		s := DestinationStatus{
			Agent: d.journal.AgentName(q.Agent), Completions: d.journal.ForThreads(q.Agent),
			Waiting: q.Count, Later: q.Later, Why: []Waits{},
		}
		if q.Count > 0 && !q.Oldest.IsZero() {
			s.Oldest = &q.Oldest
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b DestinationStatus) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(b.Later, a.Later), cmp.Compare(a.Agent, b.Agent))
	})
	of = len(list)
	list = list[:min(of, destinationsMost)]
	for i := range list {
		d.describe(&list[i])
	}
	return list, of
}

// Delays counts what waits by its cause: that of the first of its destination, which is
// the nearest of its endpoints'. What is due later counts as scheduled, though it may be
// after a failed attempt; what is for destinations that are not listed, as NoCause. It
// reads memory only.
func (d *Dispatcher) Delays() map[state.Cause]int {
	list, _ := d.Destinations()
	out := map[state.Cause]int{}
	for _, q := range d.journal.Queues() {
		if q.Name == journal.BacklogDue {
			out[state.NoCause] += q.Count + q.Later
		}
	}
	for _, s := range list {
		waiting := s.Waiting - s.InFlight
		cause := state.CauseOffering
		if len(s.Why) > 0 {
			cause, _ = state.ParseCause(s.Why[0].Code)
		}
		out[cause] += waiting
		out[state.CauseOffered] += s.InFlight
		out[state.CauseScheduled] += s.Later
		out[state.NoCause] -= s.Waiting + s.Later
	}
	out[state.NoCause] = max(0, out[state.NoCause]) // the two were not read at once
	return out
}

// describe adds what the dispatcher knows of a destination. What waits has the causes
// of its first intent, whichever that is: of a split, one of its shares.
func (d *Dispatcher) describe(s *DestinationStatus) {
	key := s.Agent
	if s.Completions {
		key = laneKey(key)
	}
	d.mu.Lock()
	if dst := d.mu.byName[key]; dst != nil {
		s.InFlight = min(s.Waiting, dst.inFlight)
	}
	d.mu.Unlock()
	if s.Waiting <= s.InFlight {
		return
	}
	causes := d.Why(journal.ID{}, s.Agent, s.Completions)
	if d.journal.Killed(s.Agent) {
		causes = []state.Delay{{Cause: state.CauseKilled}}
	}
	for _, c := range causes {
		if c.Cause == state.CauseOffering {
			s.Why = []Waits{}
			return
		}
		if len(s.Why) < whyMost {
			w := Waits{Code: c.Cause.String(), Text: c.Cause.Sentence(), Peer: c.Peer}
			if !c.Until.IsZero() {
				w.Until = &c.Until
			}
			s.Why = append(s.Why, w)
		}
	}
}
