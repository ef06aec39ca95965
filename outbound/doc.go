// Package outbound is home's side of delivery: it offers what is due in the
// journal to the sidecars that serve its destination, keeps one stream to each
// of them, and takes in what they report.
//
//	 journal                          Dispatcher                           peers
//	┌──────────┐ Due hook   ┌───────────────────────────┐
//	│ due index│───────────▶│ ready: destinations in    │      link (one per address)
//	│          │◀── Due ────│ turn, one claim each      │   ┌─────────────────────────┐
//	│          │   Rewind   │                           │   │ dial, breaker, pauses   │
//	│          │            │ survey ▸ pick ▸ claim ────┼──▶│ session                 │
//	│          │            │   │        endpoints by   │   │  outbox ▸ writer ═══════╪═▶ offers
//	│          │            │   │        Directory      │   │                         │   revokes, acks
//	│          │◀───────────┼───┼── held, released, ────┼───│  reader ◀═══════════════╪══ held, refused
//	│          │ RecordHeld │   │   refused, reports    │   │  clock (what does not   │   released, reports
//	│          │ Requeue    │   ▼                       │   │  happen)                │   credit, holdings
//	│          │ Apply      │  Local: our own mailbox   │   └─────────────────────────┘
//	└──────────┘ Refuse     └───────────────────────────┘
//	      │ Ended hook ─────────▶ revoke
//	      │ Continued hook ─────▶ update
//
// One loop (Run) looks at destinations in turn. For each it asks the directory,
// weighs the endpoints (stream reconciled? credit? breaker? pause?), and claims
// as much as the chosen one takes: an intent it has claimed is in flight until
// the holder has answered and the journal knows of it (see flight). A session is
// a reader, a writer and a clock; the reader waits for the writer only while it
// lists or answers questions, at most OfferTimeout. State has one lock, mu, that
// is never held while something waits or writes (closing an idle stream looks up
// one key of the journal); a breaker and an outbox have their own, taken inside it.
// Where our own mailbox serves the agent and has room, it comes before every peer.
//
// # Invariants
//
//   - Nothing is written per waiting intent and nothing in memory grows with them:
//     what is kept per intent is bounded by the credit of the holders, bytes by
//     MaxInFlightBytes, the rest by the number of destinations and addresses.
//   - An offer leaves only when its intent is durable, and before anything is
//     journaled about it. It goes to another journal only when the first has
//     refused or released it, or under a number that was raised and journaled.
//   - An offer whose answer is owed on a stream that broke belongs to that holder:
//     it is offered there again, under its number, once reconciled; where that
//     holder would not take it now, it goes elsewhere under the next number.
//   - What is on record as held stays until the holder releases it, does not list
//     it, or is lost: no stream for HolderLostAfter (less where its volume is
//     ephemeral or another journal answers at its address, not at all after a
//     goodbye with nothing held), a higher epoch, an operator's word.
//   - A word at home that lets an intent go on is numbered in its record; whoever
//     has the intent is told at once, or at the reconcile where it lists a lower
//     number.
//   - No offer before the stream is reconciled. Reports are applied in order and
//     acked when their events are durable.
//   - No attempt is counted here, whatever fails.
//   - What a holder says of intents it was not offered, and does not have on
//     record, changes nothing, except an app's final answer and, at reconcile, its
//     list: what home has due under no higher number is then on record there.
//   - Open holds: nothing is written to an address whose breaker is open; the
//     dial, the reconciliation and the first frame of offers are one probe, and
//     in half-open that frame carries one intent.
//
// # Crashes
//
// Claims, credit and what is owed are in memory only. After a kill every intent
// that was in flight is due or on record, exactly as the journal says. One that
// may have reached a holder without our record of it was accepted before this
// start: it waits until every endpoint of its agent has listed what it holds, or
// UncleanWait, and goes under the next number in the second case. A clean stop
// (Drain) records the unanswered as held, so the next start asks that holder
// first. Each function whose write meets an ack says what survives a crash there.
//
// # What it does not do
//
// It judges no app, counts no attempts and ends no intent but the one every
// endpoint refuses for good. To a holder whose door is shut it offers at most the
// one intent of the floor window, and nothing once that has been released. It does not limit its own rate: credit
// and the door do. It knows no discovery protocol: a Directory tells. It does not
// encrypt: the dial options do.
package outbound
