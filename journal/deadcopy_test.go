package journal_test

import (
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// A holder that has lost what was sent shows no copy of the dead letter that it becomes at
// home, however it hears of it: there is nothing to show.
func TestNoCopyOfWhatIsGone(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*journal.Journal, journal.ID) error{
		"gone":       func(j *journal.Journal, id journal.ID) error { return j.Lose(id, 'v') },
		"unreadable": (*journal.Journal).BreakEnvelope,
	} {
		for how, hear := range map[string]func(*pair, journal.ID) error{
			"by the answer to a report": func(p *pair, id journal.ID) error { return p.report() },
			"when it asks": func(p *pair, id journal.ID) error {
				verdict := []journal.Verdict{{ID: id, OfferNo: 1, Ended: true, Status: state.Failed, Reason: state.ReasonRejected}}
				return p.holder.j.Revoke(t.Context(), p.home.j.Identity().Journal, verdict)
			},
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				p := setupPair(t)
				id := p.home.accept()
				h := p.held(time.Minute)[0].Handed
				p.holder.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Nack, Reject: true})
				if err := lose(p.holder.j, id); err != nil {
					t.Fatal(err)
				}
				if err := hear(p, id); err != nil {
					t.Fatal(err)
				}
				p.holder.wantDead(journal.DeadFilter{})
				if name == "unreadable" {
					if err := p.holder.j.Lose(id, 'v'); err != nil {
						t.Fatal(err)
					}
				}
				if i, err := p.holder.j.Get(id); err != nil || !i.Handover.EndedAtHome {
					t.Errorf("the holder does not know that it has ended: %v, %v", i, err)
				}
				p.holder.counted()
				p.holder.whole()
			})
		}
	}
}
