package journal

import (
	"time"

	"pannier/journal/state"
	"pannier/journal/wire"
)

// Place is where home has an intent, and which index names it.
type Place uint8

const (
	PlaceEnded  Place = iota
	PlaceDue          // in the due index: to be offered
	PlaceHeld         // on record at another journal
	PlaceLocal        // in our own mailbox
	PlaceParked       // waits for a person, an approval or an operator; offered to nobody
)

// Accept is one intent to take. The journal fills Envelope's id, created_at_ms
// and defaults of time.
type Accept struct {
	Envelope  *wire.Envelope
	Key       *Key
	DeliverBy time.Time  // zero: Options.DeliverBy after it is due
	Deadline  time.Time  // zero: Options.Deadline after accept
	DeliverAt time.Time  // zero: at once
	Asked     []string   // addresses that its human_task names: it is in their inboxes too
	Plan      *wire.Plan // the approvals it needs before it is offered; nil: none
	// Refusal is why it is not accepted. What its Key has made before is answered all
	// the same: what is asked of a payload changes, and a repeat must not hear that
	// nothing was accepted.
	Refusal error

	by   string // whoever redrives a dead letter; "": the sender accepts it
	text string // of its first events; "": none
}

// Key is an idempotency key as the committer compares it: a hash of scope and
// key, and the SHA-256 fingerprint of what was asked for.
type Key struct{ Hash, Fingerprint [32]byte }

// Accepted answers one Accept.
type Accepted struct {
	ID        ID
	Status    state.Status
	CreatedAt time.Time
	Replayed  bool // the key was known: this is the first answer again
	Err       error
}

// Intent is a snapshot of what this journal knows of an intent. Head is nil
// where we are only its holder, Handover where we do not hold it.
type Intent struct {
	ID       ID
	Envelope *wire.Envelope // its payload is {} after its body left the history
	Head     *wire.Head
	Handover *wire.Handover
	Outcome  *wire.Outcome // nil while open
	Plan     *wire.Plan    // nil unless it has parts, and we are home
	Policy   *wire.Policy  // nil unless controls or policy have said something, and we are home
}

// BodyGone reports whether payload and result have left the history.
func (i *Intent) BodyGone() bool { return i.Head.GetBodyGone() || i.Handover.GetBodyGone() }

// SentLost reports whether what was sent is not here any more, as it could not be read: Envelope is
// nil then, or says to whom it was, at most.
func (i *Intent) SentLost() bool { return i.Head.GetSentLost() || i.Handover.GetSentLost() }

// Status is home's status, or what the holder knows of it.
func (i *Intent) Status() state.Status {
	if i.Head != nil {
		return state.Status(i.Head.Status)
	}
	return state.Status(i.Handover.HomeStatus)
}

// Answer is a last word, or a word on the way, given without a lease.
type Answer struct {
	Trigger state.Trigger // Complete, Fail, Cancel; Start: continue; Wait
	Reason  state.Reason
	Body    []byte // JSON object: result or error; nil: {}
	Text    string // reason of a cancel
	Actor   string
	Key     *Key // nil: none

	Expects  bool // it is for one generation of the policy only
	Expected uint64
}

// Answered is what became of an Answer. Seq is the number of the event it
// wrote; 0 with Provisional, where home has not yet said so.
type Answered struct {
	Status      state.Status
	Seq         uint32
	Provisional bool
	Replayed    bool // the key was known: this is the first answer again
	Stale       bool // nothing was changed: the policy has another generation
	Generation  uint64
}

// Offer is an intent home may offer.
type Offer struct {
	ID          ID
	OfferNo     uint64
	Due         time.Time
	Envelope    []byte    // encoded, byte for byte
	DeliverBy   time.Time // zero: none, or already taken
	Deadline    time.Time
	Attempts    uint32
	Redelivered bool
	Taken       bool
	Continued   uint32 // words at home so far
	Handovers   uint32 // hand-overs home has heard of
	Policy      Policy
	Receiver    bool   // durability: receiver
	Completion  bool   // it tells how another intent ended
	Task        bool   // it asks a person
	Previous    string // traceparent of the last attempt that was heard of
	Old         bool   // accepted before this start of the journal
	Holder      ID     // last journal on record, for a re-offer
}

// Requeue asks that an intent on record at Holder (or offered to it) becomes
// due again.
type Requeue struct {
	ID        ID
	OfferNo   uint64 // ignored unless it is the present one; 0: whatever it is, of one on record at Holder
	Raise     bool   // under the next offer number: it may go to another journal
	Reason    state.Reason
	NotBefore time.Time // zero: at once
	Threads   bool      // also what waits for a person there
}

// HoldRequest is an offer as it reached a holder.
type HoldRequest struct {
	Envelope    []byte
	OfferNo     uint64
	Received    time.Time     // by our clock: what is left counts from here; zero: from the commit
	DeliverBy   time.Duration // left; 0: none
	Deadline    time.Duration // left; 0: none
	Attempts    uint32
	Redelivered bool
	Taken       bool
	Continued   uint32
	Handovers   uint32     // delivery_attempt goes on from here
	Policy      Policy     // what is in it of the options; Deadline says nothing
	Lease       Terms      // For > 0: a reader waits: held and lease are one commit
	Trace       Trace      // what the offer says of it
	Offered     int64      // home's clock, in ms: for home to hear again
	Waited      *wire.Wait // likewise; nil: nothing that is known
}

// Terms are those of a lease.
type Terms struct {
	For    time.Duration
	Stream bool   // it goes out on a stream, which may be taken up by its number
	Thread bool   // no lease: a completion that is kept as a thread, and done with that
	Inbox  bool   // no lease: its thread is the hand-over, and a person answers
	Trace  string // traceparent of the poll it goes out with; empty: none
	Pull   *Pull  // it is for; nil: for none that is bounded
}

// HoldResult answers a HoldRequest. Err is nil also for a repeated offer.
type HoldResult struct {
	ID      ID
	OfferNo uint64
	Fresh   bool    // was not here before: counts against credit
	Handed  *Handed // set where Lease was asked for and given
	Err     error
}

// Handed is an intent handed to the app under a lease.
type Handed struct {
	ID          ID
	Envelope    *wire.Envelope
	Seq         uint64 // number of the hand-over in the agent's log
	Status      state.Status
	Attempt     uint32 // delivery_attempt
	Redelivered bool
	Lease       ID
	Until       time.Time
	Trace       Trace
	Traceparent string // what the app is told
	Err         error
}

// Renewal moves the end of a lease without the app's having asked: it is at work
// on what it was given together with this.
type Renewal struct {
	ID    ID
	Lease ID
	Until time.Time
}

// Mail is an entry of a mailbox whose time has come.
type Mail struct {
	ID       ID
	Home     ID
	OfferNo  uint64
	Phase    state.Phase
	Due      time.Time
	Held     time.Time
	Attempts uint32
	Receiver bool // durability: receiver
	Lease    ID   // of a leased or working one
	Seq      uint64
	Streamed bool      // its lease went out on a stream
	Leased   time.Time // of a leased or working one: the first lease of this hand-over, or its 202
	Counted  bool      // counts against credit

	// OutOfAttempts: ready, and not to be handed over: the limit was lowered to the
	// attempts it has had. Exhaust leaves it to home.
	OutOfAttempts bool

	ends time.Time // Due, and later by what the clock has jumped ahead since
}

// Action is what a settle does.
type Action uint8

const (
	Ack Action = iota + 1
	Nack
	Extend
)

// Settle is the app's answer under its lease.
type Settle struct {
	ID     ID
	Lease  ID
	Agent  Agent // whose intent the caller means; 0: any
	Action Action
	Result []byte        // Ack: JSON object; nil: {}
	Reason string        // Nack
	Delay  time.Duration // Nack: < 0: the usual backoff
	Reject bool          // Nack: dead letter
	Spare  bool          // Nack: no attempt is counted
	For    time.Duration // Extend: new deadline from now; 0: work_timeout
}

// Settled answers a Settle.
type Settled struct {
	Status state.Status
	Until  time.Time // Extend: the new deadline
	Again  bool      // of a push: it is to be sent again
	Err    error
}

// Holding is one line of a holder's list of what it has from a home.
type Holding struct {
	ID        ID
	OfferNo   uint64
	Phase     state.Phase
	HomeEpoch uint64
	Continued uint32 // words of home taken in
	Uncounted bool   // it does not count against credit
	Policy    uint64 // generation known there
}

// Verdict is home's answer to a Holding it does not keep.
type Verdict struct {
	ID      ID
	OfferNo uint64
	Ended   bool // else superseded
	Status  state.Status
	Reason  state.Reason  // for which it ended
	Events  []*wire.Event // all of them, of a dead letter: its copy shows them
}

// Acked is home's answer to one report.
type Acked struct {
	ID      ID
	Status  state.Status
	Events  []*wire.Event // all of them, once the intent has ended
	Unknown bool
	Park    bool
}

// Given is an intent a holder has released.
type Given struct {
	ID      ID
	Home    ID
	OfferNo uint64
	Agent   Agent
	Due     time.Time // not before, where an app has asked for a pause
}

// AgentInfo is one entry of the dictionary of addresses.
type AgentInfo struct {
	Agent   Agent
	Name    string
	Learned bool
	Binding string // set while running; empty: as configured
	Killed  bool   // nothing goes to it or comes from it
	First   time.Time
}

// Filter chooses what List returns, newest first.
type Filter struct {
	Status  state.Status // None: any
	Pending bool         // not yet taken: CREATED, SUBMITTED, DELIVERED
	Open    bool         // not ended, and homed here
	Parked  bool         // waits for an operator
	To      string
	Before  ID // exclusive; zero: from the newest
	Limit   int
	Bytes   int                // of bodies, about, after which a list ends like at its Limit; 0: no bound
	Keep    func(*Intent) bool // nil: all
}

// Stats are figures kept in memory: reading them never touches Badger.
type Stats struct {
	Seq           uint64 // batches committed
	Clock         Clock
	Identity      Identity
	Boot          uint32
	Unclean       bool
	Durable       bool // the volume outlives the host
	VolumeUnknown bool // at the start the system did not say whether it does
	Volume
	Files      FileRoom
	Stalled    time.Duration     // a batch has been under way for so long; 0: not long
	Live       map[string]uint64 // live index keys by class
	BatchSizes uint64            // operations committed; divided by Seq: the mean batch

	History, HistoryMost int64     // about the bytes that ended intents take, and may take
	LetGo                uint64    // of them, intents that have been let go whole since the start
	LetGoUntil           time.Time // what ended up to then may have been; zero: nothing has

	Loss string // what this start has gone on without (Options.AcceptLoss); empty: nothing

	Scrubs, Aside, Rebuilt uint64 // since the start: times the live set was read whole, records set aside, entries of indexes built anew
	Faults, ReportsAside   uint64 // since the start: intents set aside because we cannot work on them, reports of holders that could not be applied
	LateAnswers            uint64 // since the start: answers to what had ended
	Warnings               uint64 // since the start: lines of Hooks.Warning, the store's too
	Deletes                int64  // of keys, since the store was compacted for them last, or the start
	Compactions            uint64 // of those that it was, since the start
}
