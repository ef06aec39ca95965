package journal

import (
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal/internal/bubble"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// Options configure Open. The zero value of every field but Dir is usable.
type Options struct {
	Dir         string
	AcceptLoss  bool // go on without what is gone, or as an older copy: a new epoch begins; see loss
	AcceptClock bool // believe the wall clock, however far it is from when the journal was last open
	Ephemeral   bool // the volume goes with its host, which it does not show: see durableVolume

	// Backoff is the pause after the n-th failed attempt; nil: one second.
	Backoff func(attempts int) time.Duration
	// WorkTimeout is what a continuing resume gives the app; 0: 1 h.
	WorkTimeout time.Duration
	// WorkMax is how long one hand-over may be kept alive by extending it; 0: 24 h.
	WorkMax time.Duration
	// DeliverBy and Deadline are the limits of an intent that names none; 0:
	// DefaultDeliverBy after it is due, DefaultDeadline after accept.
	DeliverBy, Deadline time.Duration
	// Elsewhere reports whether an agent's people are at another sidecar, where what they are
	// asked is to be shown to them. It runs on the committer and must not block. nil: none are.
	Elsewhere   func(address string) bool
	History     History
	ScrubEvery  time.Duration // how often the live set is read again; 0: DefaultScrub
	Space       Space
	NoSchedules bool // schedules make nothing: whoever empties a journal wants no more in it
	Hooks       Hooks
	// Trace returns the traceparent of a hand-over on a stream, which is about to be
	// durable; empty: it has none. It runs on the committer, perhaps twice for one
	// hand-over, and must not block. nil: nothing is traced.
	Trace func(h *Handed, now time.Time) string
	// Tell returns the messages that a turn of a person's task makes, at most 32 of at
	// most 16 KiB. It runs on the committer, perhaps twice for one turn, and must not
	// block. nil: nobody is told.
	Tell func(*TaskNews) []Notification

	// SinceBoot tells how long the machine has been up; nil: nobody knows, and the time
	// between two starts is what the wall clock says.
	SinceBoot func() (boot string, up time.Duration)

	Store bubble.Store // of a test in a bubble of fake time: see journaltest

	wall      func() time.Time        // nil: time.Now
	pageRead  func(reads, bytes int)  // nil: nobody wants to know
	commitTxn func(*badger.Txn) error // nil: the store's
}

// Hooks are how the journal reports. They run on the committer after the
// commit, in commit order, and must not block. A nil hook is not called.
type Hooks struct {
	Due   func(Agent) // the due index of a destination gained an entry
	Mail  func(Agent) // the mailbox index of an agent gained an entry
	Ended func(Ended) // an intent ended at home that another journal may hold
	// Continued: a word at home lets an intent go on that another journal may hold.
	Continued func(Continued)
	// Changed: options of an intent changed that another journal may hold.
	Changed    func(Policy)
	Moved      func(Moved)      // an intent left a mailbox, or counts against credit otherwise than before
	Spoken     func(Spoken)     // somebody without a lease spoke for an app that has an intent
	Reports    func(home ID)    // a report for home was journaled
	HandedOver func(HandedOver) // the span of a hand-over on a stream is over
	Failed     func(error)      // fail-stop: the process must exit; it must not call the journal
	Warning    func(string)     // Badger said something that no one should have to see
	Corrupt    func(Corrupt)    // a record that cannot be read was set aside
	Lost       func(ID)         // what we hold of another home, or say to it, could not be read: it must ask what we hold; zero: not known of which
	Faulty     func(ID, error)  // an intent was ended because we cannot work on it, and why
	Counted    func(*Tally)     // a batch was run: the first to hear of it
	// Space: there is little room on the volume, or enough again; the reserve kept there was
	// used, or is there again. It is called from anywhere.
	Space func(Volume)
	// Files: this process has few files left to open and takes no connections, or has
	// enough again. It is called from anywhere.
	Files func(FileRoom)
	// Clock: the wall clock has jumped, or is believed again. It is called from anywhere.
	Clock func(Clock)
}

// Ended tells home's dispatcher to revoke an intent.
type Ended struct {
	ID      ID
	Agent   Agent
	Holder  ID // on record as holding it; zero: none on record
	OfferNo uint64
	Status  state.Status
	Reason  state.Reason
	Events  []*wire.Event // all of them, of a dead letter and of what people have; not to be changed
}

// Moved tells the mailbox that an intent no longer counts against credit (it was
// acknowledged after a push, or has left), that it counts again (it is ready anew),
// or that it has left: it is not ready, leased or worked on any more.
type Moved struct {
	ID    ID
	Agent Agent
	Home  ID
	Count int // 1, 0 or -1: to add to what counts
	Apart int // likewise, to what is worked on and does not count
	Left  bool
}

// Spoken tells the mailbox that an intent the app has was answered, or continued,
// by a word without its lease. It comes after Moved, where both come.
type Spoken struct {
	ID    ID
	Agent Agent
	Until time.Time // the end of the lease now; zero: the app has it no more
}

// Continued is a word given at home without a lease, for the journal that has
// the intent: the app goes on with it, or waits. It is about the hand-over that
// home had heard of then: a later one has its own lease.
type Continued struct {
	ID      ID
	Holder  ID // on record as holding it; zero: none on record
	OfferNo uint64
	No      uint32        // words are numbered for each intent
	On      uint32        // delivery_attempt of the hand-over it is about
	Trigger state.Trigger // Start or Wait
}
