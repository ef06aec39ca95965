// Package state holds the two tables Pannier's behaviour rests on: the
// lifecycle of an intent, kept by its home, and the hand-over of an intent,
// kept by its holder. A pair (state, trigger) that is not a row does not
// happen. Each table has one reader ([Next], [Step]), whose caller is the
// journal transaction that also writes the event or the report.
//
// # Lifecycle
//
// Triggers that keep the status are not drawn: deliver (in DELIVERED,
// ACKNOWLEDGED and IN_PROGRESS), delivery_failed (from SUBMITTED to IN_PROGRESS),
// transfer (from SUBMITTED on), assign (in SUBMITTED and WAITING), remind and escalate (in IN_PROGRESS and WAITING).
// Any open status also leaves to FAILED,
// CANCELED and TIMED_OUT.
//
//	CREATED   --submit-->      SUBMITTED
//	SUBMITTED --deliver-->     DELIVERED
//	SUBMITTED --start-->       IN_PROGRESS
//	SUBMITTED --wait-->        WAITING
//	DELIVERED --acknowledge--> ACKNOWLEDGED
//	DELIVERED --start-->       IN_PROGRESS
//	DELIVERED --wait-->        WAITING
//	ACKNOWLEDGED --start-->    IN_PROGRESS
//	ACKNOWLEDGED --wait-->     WAITING
//	IN_PROGRESS --wait-->      WAITING
//	IN_PROGRESS --complete-->  COMPLETED
//	WAITING   --start-->       IN_PROGRESS
//
// COMPLETED is reached from IN_PROGRESS only; an answer that comes earlier
// first takes the start row ([Path]).
//
// # Hand-over
//
// ready: in the mailbox, unleased; working: the app extended; parked: the app
// waits for somebody (no route lets it yet); spent: out of attempts, home decides.
// What moves from ready without a lease is an answer given without one, or a push,
// which needs none. none is the absence of a record; a released one is deleted. What is
// rejected while parked or spent is so by us: for sidecar_fault.
//
//	none    --hold-->    ready
//	ready   --lease-->   leased
//	ready   --release--> released
//	ready   --fail-->    ready
//	ready   --exhaust--> spent
//	ready   --reject-->  rejected
//	leased  --recover--> ready
//	leased  --fail-->    ready
//	leased  --exhaust--> spent
//	leased  --extend-->  working
//	leased  --park-->    parked
//	working --extend-->  working
//	working --recover--> ready
//	working --fail-->    ready
//	working --exhaust--> spent
//	working --park-->    parked
//	ready   --extend-->  working
//	ready   --park-->    parked
//	parked  --extend-->  working
//	spent   --recover--> ready
//	leased  --reject-->  rejected
//	working --reject-->  rejected
//	parked  --reject-->  rejected
//	spent   --reject-->  rejected
//
// What a move tells home: lease is deliver; the first extend of a lease is
// acknowledge, the second start, later ones nothing; a resume at the holder is
// start; park is wait; fail is delivery_failed; exhaust is delivery_failed
// and then fail, or wait where the intent is to be held; reject is fail; answer is
// complete, fail or cancel; the others tell nothing, nor does a move that home has
// asked for. A release is told by a frame of its own.
//
// Not drawn are answer and revoke, from every open phase (ready, leased, working, parked,
// spent) to answered and revoked.
package state
