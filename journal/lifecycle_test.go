package journal_test

import (
	"testing"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// A log that is full takes no more of what only informs, and each change of the status; what
// has ended is moved by nothing; and what a trigger says is said once, of the last of its rows.
func TestMoves(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		from   state.Status
		events int
		on     state.Trigger
		says   state.Reason

		ok     bool
		to     state.Status
		more   int // events
		reason state.Reason
	}{
		"a transfer":                 {state.InProgress, 1, state.Transfer, 0, true, state.InProgress, 1, state.ReasonNack},
		"a transfer in a full log":   {state.InProgress, 400, state.Transfer, 0, true, state.InProgress, 0, state.ReasonNack},
		"an end in a full log":       {state.InProgress, 400, state.Fail, state.ReasonApp, true, state.Failed, 1, state.ReasonApp},
		"an answer before its start": {state.Delivered, 2, state.Complete, 0, true, state.Completed, 2, state.ReasonNack},
		"and in a full log":          {state.Delivered, 400, state.Complete, 0, true, state.Completed, 2, state.ReasonNack},
		"an end of what has ended":   {state.Completed, 3, state.Fail, state.ReasonApp, false, state.Completed, 0, state.ReasonNack},
	} {
		got := journal.Move(row.from, row.events, row.on, &wire.Event{Text: "says", Reason: uint32(row.says), Outcome: true})
		if got.OK != row.ok || got.Status != row.to || got.Reason != row.reason || len(got.Events) != row.events+row.more {
			t.Errorf("%s: %v to %s for %s, with %d events of %d before", name, got.OK, got.Status, got.Reason, len(got.Events), row.events)
			continue
		}
		for i, e := range got.Events[row.events:] {
			if is := i == row.more-1; e.Outcome != is || (e.Text == "says") != is {
				t.Errorf("%s: of %d events number %d says %q, an outcome: %v", name, row.more, i, e.Text, e.Outcome)
			}
		}
	}
}
