// Package state holds the two tables Pannier's behaviour rests on: the
// lifecycle of an intent, kept by its home, and the hand-over of an intent,
// kept by its holder. A pair (state, trigger) that is not a row does not
// happen. Each table has one reader ([Next], [Step]), whose caller is the
// journal transaction that also writes the event or the report.
//
// # Lifecycle
//
// Triggers that keep the status are not drawn: delivered, delivery_failed and
// transfer (informational events). Any open status also leaves to FAILED,
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
//	spent   --extend-->  working
//	spent   --recover--> ready
//	leased  --reject-->  rejected
//	working --reject-->  rejected
//
// and answer and revoke from every open phase (ready, leased, working, parked,
// spent) to answered and revoked.
package state
