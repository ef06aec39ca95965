package journal

import (
	"errors"
	"fmt"
	"time"

	"pannier/journal/state"
)

var (
	// ErrNotFound: no record of this intent here.
	ErrNotFound = errors.New("intent not found")
	// ErrFailed: the journal is poisoned by a failed commit; whether the last
	// batch is on disk is unknown until the next start.
	ErrFailed = errors.New("journal failed")
	// ErrFull: the disk is nearly full: nothing new is taken, nothing was changed.
	ErrFull = errors.New("journal full")
	// errNoFiles: the process may open no more of them, and the store would go on without.
	errNoFiles = errors.New("no file was left to open for ten seconds: the journal stops before the store loses something for want of one; raise the limit of open files (ulimit -n), then start again")
	// ErrClosed: Close has been called; ask again after the next start.
	ErrClosed = errors.New("journal closed")
	// ErrLeaseLost: the lease is not the one in force; nothing was changed.
	ErrLeaseLost = errors.New("lease lost")
	// ErrOldCopy: one of two journals that talk is an older copy of itself: the
	// numbers of reports prove that it has forgotten what it once said.
	ErrOldCopy = errors.New("an older copy of a journal")
	// ErrExpired: a limit of time forbids the hand-over; home will end it.
	ErrExpired = errors.New("out of time")
	// ErrKeyConflict: the idempotency key was used with another body.
	ErrKeyConflict = errors.New("idempotency key used with another body")
	// ErrKeyLost: it was used, and for what is lost; it may be the same.
	ErrKeyLost = fmt.Errorf("%w, or what it was used for is lost", ErrKeyConflict)
	// ErrIllegal: the tables have no row for this.
	ErrIllegal = errors.New("illegal transition")
	// ErrPullFull: the pull it was for has as much as one is given.
	ErrPullFull = errors.New("the pull is full")
	// ErrTooLarge: one record would not fit one batch.
	ErrTooLarge = errors.New("too large for the journal")
	// ErrTooManyAgents: the dictionary of unknown destinations is full.
	ErrTooManyAgents = errors.New("too many distinct destinations")
	// ErrNotDead: the intent is no dead letter: it is open, or ended for a reason
	// that is none of delivery.
	ErrNotDead = errors.New("not a dead letter")
	// ErrLost: what the intent was is not here any more: it cannot be read, or has left the
	// history.
	ErrLost = errors.New("what it was is not here any more")
	// ErrNotHome: only the home of the intent can do this.
	ErrNotHome = errors.New("homed at another sidecar")
	// ErrTooMany: there are as many of these as may be.
	ErrTooMany = errors.New("too many of them")
	// ErrKilled: an operator has killed the agent; nothing goes to it or comes from it.
	ErrKilled = errors.New("agent is killed")
	// ErrTooManyAccounts: there are as many service accounts, or keys of one, as may be.
	ErrTooManyAccounts = errors.New("too many service accounts or keys")
	// ErrNoThread: no thread of this id in the inbox that was asked for.
	ErrNoThread = errors.New("no such thread")
	// ErrThreadFull: the timeline has no room for another entry.
	ErrThreadFull = errors.New("thread is full")
	// errGap: a report before it is missing.
	errGap = errors.New("a gap in the numbers of reports")
	// errStore: the store cannot read; that says nothing of the record.
	errStore = errors.New("the store cannot read")
	// ErrFault: an operation panicked; it has changed nothing, and the others go on.
	ErrFault = errors.New("sidecar fault")
)

// LetGoError says that there is no record of an intent, and that of what has ended some
// has been let go: it may have been here. It is an ErrNotFound.
type LetGoError struct{ Until time.Time } // what ended up to then may be gone

func (e *LetGoError) Error() string {
	return fmt.Sprintf("%v: what ended up to %s may have been let go", ErrNotFound, e.Until.UTC().Format(time.RFC3339))
}

func (e *LetGoError) Unwrap() error { return ErrNotFound }

// EndedError says that the intent has ended, and how. Nothing was changed.
type EndedError struct {
	Status state.Status
	By     string    // who decided, where a person was asked; empty: nobody did, or it is not known here
	At     time.Time // when
}

func (e *EndedError) Error() string { return fmt.Sprintf("intent has ended %s", e.Status) }

// DecidedError says that somebody has decided a thread otherwise. Nothing was changed.
type DecidedError struct {
	Decision, By string
	At           time.Time
}

func (e *DecidedError) Error() string {
	return fmt.Sprintf("decided before: %s, by %s", e.Decision, e.By)
}

// RedrivenError says that a dead letter has its successor already. Nothing was
// changed.
type RedrivenError struct{ As ID }

func (e *RedrivenError) Error() string { return fmt.Sprintf("redriven before, as %s", e.As) }

// DamageError says why a journal must not be opened.
type DamageError struct {
	What string // one sentence for an operator
	Hint string // what to do
}

func (e *DamageError) Error() string { return e.What + "; " + e.Hint }

// CorruptError names a record whose checksum or form is wrong.
type CorruptError struct {
	Key []byte
	Why string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is corrupt: %s", describe(e.Key), e.Why)
}
