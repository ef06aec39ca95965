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
//	│          │            │   │        Directory      │   │                         │   revokes, acks, updates
//	│          │◀───────────┼───┼── held, released, ────┼───│  reader ◀═══════════════╪══ held, refused
//	│          │ RecordHeld │   │   refused, reports    │   │  clock (what does not   │   released, reports
//	│          │ Requeue    │   ▼                       │   │  happen)                │   credit, holdings
//	│          │ Apply      │  Local: our own mailbox   │   └─────────────────────────┘
//	└──────────┘ Refuse     └───────────────────────────┘
//	      │ Ended hook ─────────▶ revoke
//	      │ Continued, Changed hooks ─▶ update
//
// One loop (Run) looks at destinations in turn. For each it asks the directory,
// weighs the endpoints (stream reconciled? credit? breaker? pause?), restricts
// them by health and policy (see Policy), and claims
// as much as the chosen one takes: an intent it has claimed is in flight until
// the holder has answered and the journal knows of it (see flight). A session is
// a reader, a writer and a clock; the reader waits for the writer only while it
// lists or answers questions, at most OfferTimeout; a redrive that a holder asks for
// is made beside it. State has one lock, mu, that
// is never held while something waits, writes or reads the journal; a breaker and an outbox have their own, taken inside it.
// Where our own mailbox serves the agent and has room, it comes before every peer.
//
// # Invariants
//
//   - Nothing is written per waiting intent and nothing in memory grows with them:
//     what is kept per intent is bounded by the credit of the holders (at a
//     reconcile, 16 bytes for each line of the list), bytes by MaxInFlightBytes, the
//     rest by the number of destinations and addresses. Credit dies with the
//     stream, and is 1 until the holder has named the agent.
//   - Completions of one agent, and tasks for its people, are a destination of their own,
//     under a window of 64 that no holder announces: they need no reader, and do not wait
//     behind what does. Of the endpoints that take them the one with the lowest journal
//     id gets all of them.
//   - What is in an inbox stays on record at its holder however long that is away; only
//     an operator's word or a higher epoch gives it to another.
//   - An offer leaves only when its intent is durable, and before anything is
//     journaled about it. It goes to another journal only when the first has
//     refused or released it, or under a number that was raised and journaled.
//   - An offer whose answer is owed on a stream that broke belongs to that holder:
//     it is offered there again, under its number, once reconciled; where that
//     holder would not take it now, it goes elsewhere under the next number.
//   - What is on record as held stays until the holder releases it, does not list
//     it, or is lost: no stream for HolderLostAfter (less where its volume is
//     ephemeral or another journal answers at its address, at once after a
//     goodbye with nothing held), a higher epoch, an operator's word. One whose
//     fifth holder is lost waits for an operator.
//   - A word at home on an intent another journal has is numbered in its record;
//     whoever has the intent is told at once, or at the reconcile where it lists a
//     lower number. One that waits for an operator goes out as the next offer
//     instead, its attempts counted anew.
//   - Changed options go out with the offer, or at once to whoever has the intent, or
//     at the reconcile where it lists an older generation. A change asked for by a
//     holder is made here, in its journal's time.
//   - No offer before the stream is reconciled. Reports are applied in order and
//     acked when their events are durable.
//   - Where trust is set, a peer is offered nothing of an agent it may not speak for,
//     hears nothing of it, and nothing it says of it counts, an app's final answer
//     included; a journal with intents on record answers through a peer that may
//     speak for all of their agents, or not at all; one that has answered within a
//     day, through a peer that may speak for one of the agents it then served.
//   - What one endpoint refuses for good is a dead letter only when each other one
//     that discovery calls healthy, and whose breaker is not open, has refused it:
//     one that is being dialed or has no room is waited for, however many wait.
//   - A dead letter is redriven for the holder on record alone, for the same agent.
//   - A report that cannot be taken is the journal's to pass over, an outcome that is no
//     JSON object is left out: no report keeps those after it away. A frame on which we
//     panic ends its stream.
//   - No attempt is counted here, whatever fails.
//   - A [Tracer] is told of each offer before it is written, with no lock held, and of
//     its answer; it delays nothing. Its context rides in the offer.
//   - A refusal, and a list without the intent, outweigh reports of it that were kept
//     from before: it is due again, and counts against no credit.
//   - What a holder says of intents it was not offered, and does not have on
//     record, changes nothing, except an app's final answer and, at reconcile, its
//     list: what home has due under no higher number is then on record there, and
//     what it lists as answered under any number, for its report counts.
//   - Open holds: nothing is written to an address whose breaker is open; the
//     dial, the reconciliation and the first frame of offers are one probe, and
//     in half-open that frame carries one intent. A knock lifts the gate; an
//     operator's word holds until the next. The offer that ends it says from when to
//     when it was open while the intent was due: the holder keeps that, and home writes
//     it with the first event of the attempt. Nothing is written while it lasts.
//   - No policy loses, ends or counts anything: a paused destination, one that has
//     as much unanswered as it may, an aborted frame, a subset nobody serves leave
//     their intents due, and the limits of time go on. A change takes effect with the
//     directory's, also for what is claimed and not yet written; breakers keep what
//     they have counted.
//
// # Choosing an endpoint
//
// First the split, if the policy has one: the id of an intent gives its subset, and
// each subset has a place of its own in the journal's index, so that one with no
// room holds up no other. In the subset the lowest priority number of which an
// endpoint is usable: dialed for the first time, full or busy is usable; failed,
// refused, half-open, leaving or given back to is not. In the priority our own zone,
// where one of it has room. Of these the one with less outstanding of two. One that
// discovery calls draining or unhealthy gets nothing new. Offers that a holder owes
// the answer to, and those that others have refused for good, go where they must,
// whatever the priority.
//
// # Links
//
// A link dials while something due names its address, while anything is on record
// or owed there, once after each start for every holder on record, and when
// knocked; it closes after IdleClose with nothing held and nothing unacked. Its
// breaker opens after 5 failures in a row, or when half of 20 or more fail within an
// interval that holds five of the longest exchanges with their pauses. An outcome
// is one frame of offers, or a dial with nothing to offer; a broken stream is one
// failure, and so is a frame that an injected fault aborts, after which the stream
// goes on unless that opens the breaker. The gate doubles from RedialMin to
// RedialMax, half of it random. The policies of the destinations an address serves
// change these terms, the most careful first. Offers share a frame where their
// policies give them one answer time and one fault.
//
// # Crashes
//
// Claims, credit and what is owed are in memory only. After a kill every intent
// that was in flight is due or on record, exactly as the journal says. One that
// may have reached a holder without our record of it was accepted before this
// start: it waits until every endpoint of its agent has listed what it holds, or
// UncleanWait, and goes under the next number in the second case. Until a holder's list
// is complete, its reports of such an intent prove that it was offered there; what the
// list does not name was given back since, and goes out with its attempts. A clean stop
// (Drain) records the unanswered as held, so the next start asks that holder
// first. Each function whose write meets an ack says what survives a crash there.
//
// # What it does not do
//
// It judges no app, counts no attempts and ends no intent but the one every
// endpoint refuses for good. To a holder whose door is shut it offers at most the
// floor window (1; 2 while a reader waits), and at 1 nothing more once some was
// released. It does not limit its own rate: credit,
// the door and max_requests do. It spills no intent of a split to another subset,
// and no work to the next priority while the first is only full. It knows no discovery protocol: a Directory tells. It does not
// encrypt: the dial options do; nor does it know who a peer is: [Trust] tells.
package outbound
