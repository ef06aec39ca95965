package state

import "fmt"

// Phase is the state of a hand-over at its holder.
type Phase uint8

const (
	Absent   Phase = iota
	Ready          // in the mailbox, unleased
	Leased         // the app has it under a lease
	Working        // the app said it works on it
	Parked         // the app said it waits for somebody or something
	Spent          // out of attempts; home decides
	Answered       // the app gave its final answer
	Rejected       // the app will never take it
	Released       // given back to home unleased
	Revoked        // home took it back
)

var phaseNames = [...]string{"absent", "ready", "leased", "working", "parked", "spent", "answered", "rejected", "released", "revoked"}

func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase_%d", p)
}

// Open reports whether the hand-over may still change.
func (p Phase) Open() bool { return p >= Ready && p <= Spent }

// WithApp reports whether the hand-over is in the mailbox or with the app: it
// has not been answered, and waits for nobody else.
func (p Phase) WithApp() bool { return p == Ready || p == Leased || p == Working }

// Settled reports whether the app has said its last word.
func (p Phase) Settled() bool { return p == Answered || p == Rejected }

// Phases lists every phase.
func Phases() []Phase {
	return []Phase{Ready, Leased, Working, Parked, Spent, Answered, Rejected, Released, Revoked}
}

// Move is what may change a hand-over.
type Move uint8

const (
	Hold      Move = iota + 1 // the held commit
	Lease                     // handed to the app
	Recover                   // the hand-over came to nothing, and no attempt is counted
	FailTry                   // nack, lapse, error answer: a failed attempt
	Exhaust                   // the last failed attempt
	Extend                    // still working, or a continuing resume
	Park                      // waits
	GiveFinal                 // final answer of the app
	Refuse                    // the app will never take it
	GiveBack                  // release to home
	Revoke                    // home has ended it or given it to another
)

var moveNames = [...]string{"none", "hold", "lease", "recover", "fail", "exhaust", "extend", "park", "answer", "reject", "release", "revoke"}

func (m Move) String() string {
	if int(m) < len(moveNames) {
		return moveNames[m]
	}
	return fmt.Sprintf("move_%d", m)
}

// Moves lists every move of the hand-over table.
func Moves() []Move {
	return []Move{Hold, Lease, Recover, FailTry, Exhaust, Extend, Park, GiveFinal, Refuse, GiveBack, Revoke}
}

// Fact is what a hand-over tells home.
type Fact uint8

const (
	NoFact Fact = iota
	FactDelivered
	FactWorking
	FactWaiting
	FactAttemptFailed
	FactExhausted
	FactAnswered
	FactRejected
)

var factNames = [...]string{"none", "delivered", "working", "waiting", "attempt_failed", "exhausted", "answered", "rejected"}

func (f Fact) String() string {
	if int(f) < len(factNames) {
		return factNames[f]
	}
	return fmt.Sprintf("fact_%d", f)
}

// HandoverRow is one line of the hand-over table. Tells is what home hears.
type HandoverRow struct {
	From  Phase
	On    Move
	To    Phase
	Tells Fact
}

var handover = []HandoverRow{
	{Absent, Hold, Ready, NoFact},
	{Ready, Lease, Leased, FactDelivered},
	{Ready, GiveBack, Released, NoFact},

	// http leases are not journaled: an attempt fails, runs out or is taken
	// back while the record still says ready.
	{Ready, FailTry, Ready, FactAttemptFailed},
	{Ready, Exhaust, Spent, FactExhausted},
	{Ready, Refuse, Rejected, FactRejected},
	{Ready, Extend, Working, FactWorking},
	{Ready, Park, Parked, FactWaiting},
	{Ready, GiveFinal, Answered, FactAnswered},
	{Ready, Revoke, Revoked, NoFact},

	{Leased, Recover, Ready, NoFact},
	{Leased, FailTry, Ready, FactAttemptFailed},
	{Leased, Exhaust, Spent, FactExhausted},
	{Leased, Extend, Working, FactWorking},
	{Leased, Park, Parked, FactWaiting},
	{Leased, GiveFinal, Answered, FactAnswered},
	{Leased, Refuse, Rejected, FactRejected},
	{Leased, Revoke, Revoked, NoFact},

	{Working, Recover, Ready, NoFact},
	{Working, FailTry, Ready, FactAttemptFailed},
	{Working, Exhaust, Spent, FactExhausted},
	{Working, Extend, Working, FactWorking},
	{Working, Park, Parked, FactWaiting},
	{Working, GiveFinal, Answered, FactAnswered},
	{Working, Refuse, Rejected, FactRejected},
	{Working, Revoke, Revoked, NoFact},

	{Parked, Extend, Working, FactWorking},
	{Parked, GiveFinal, Answered, FactAnswered},
	{Parked, Refuse, Rejected, FactRejected}, // not by its app: we cannot work on it
	{Parked, Revoke, Revoked, NoFact},

	// An operator lets a spent hand-over continue (on_exhausted: hold).
	{Spent, Recover, Ready, NoFact},
	{Spent, GiveFinal, Answered, FactAnswered},
	{Spent, Refuse, Rejected, FactRejected}, // likewise
	{Spent, Revoke, Revoked, NoFact},
}

var handoverIndex = func() map[[2]uint8]HandoverRow {
	index := make(map[[2]uint8]HandoverRow, len(handover))
	for _, r := range handover {
		index[[2]uint8{uint8(r.From), uint8(r.On)}] = r
	}
	return index
}()

// Step returns the row for a phase and a move, and whether there is one.
func Step(p Phase, m Move) (HandoverRow, bool) {
	r, ok := handoverIndex[[2]uint8{uint8(p), uint8(m)}]
	return r, ok
}
