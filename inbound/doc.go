// Package inbound is the holder's half of a sidecar: it takes intents from
// their homes, hands them to the readers of their agent under leases, takes the
// app's answers, and reports to the homes.
//
//	home ══ Session ══▶ handle ──▶ AckReports, Revoke, Continue, Adopt
//	  ▲                   │
//	  ║                   └──admit──▶ journal.Hold ─────┐ held, and for a waiting
//	  ║                                                 │ pull leased, in one commit
//	  ║                 own home ──Take──▶ HoldLocal ───┤
//	  ║                                                 ▼
//	  ║     journal.Mail ──▶ turn ──door──▶ Lease ──▶ Pull ──▶ app
//	  ║                        │                                │
//	  ║                        ├─▶ Lapse, Recover, Renew        ▼
//	  ║                        └─▶ Release ──▶ outbox        Settle ──▶ door
//	  ║                                          │              │
//	  ╚═══ write ◀── hello holdings held … ── outbox ◀── Reports ◀┘ (hook)
//
// [Mailbox] has one box per agent: the pulls that wait, the window of its homes
// (credit), the door, and the hand-overs under way. A box has one turn at a
// time, which alone reads the agent's index; wake-ups coalesce, and one timer
// per box stands for everything that will be due.
//
// [Server] has one session per home. Its reader acts on frames in order and
// waits only for the journal; its writer sends what the outbox has gathered;
// acks are journaled by a loop of their own, those of 20 ms together. A revoke or an update (a word given
// at home) first waits for the offers still on their way into the journal, which
// takes endings and words before offers. Knocks go, 1 s to 1 min apart, to homes
// without a stream that have unacked reports or open intents here, or that
// somebody here asks.
//
// # Readers
//
// A poll is one pull. A [Stream] is one response of the agent's log of
// hand-overs, and pulls again and again: each hand-over has the agent's next
// number, and belongs to the connection ([Conn]) it went out on. While that is
// open nobody else gets it; when it closes, what the app has not settled goes to
// the stream that waits or comes next and asks from before it, under its number
// and its lease, and no attempt is counted. After a restart no connection is left,
// so all of them wait for that. A response carries at most 64 that are unsettled,
// an agent 1,000, and about 4 MiB are read for it at once, also of what was left.
// What the app settles gives the rest of its response as long again, in memory
// first: the journal is told when the lease is due.
//
// A [Push] hands over to whoever sends the intents to their app: nobody else can
// ask for them while it is open. No lease is journaled: the intent stays ready
// until its answer is, and the flight in memory keeps it from being handed over
// or given back meanwhile. At an unclean start all that was here is marked as
// redelivered, also for an app that asks for its intents by now: each start notes
// once whose apps are sent theirs. Once acknowledged (202) it does not count against credit, unless it
// becomes ready again.
//
// What a lowered limit has put out of attempts is left to its home by the next look at
// the mailbox, 5 s later at most, whether or not anybody asks.
//
// A completion is taken in as a thread that is done: it needs no window, is in no
// mailbox, and knows no door. Agents set with Completions are handed theirs like any
// other intent.
//
// Agents set with Inboxes are people: what is held for them is a thread at once, parked
// and told as delivered, and no door or window but max_open counts. What was ready for
// an app when its agent became people goes back to its home behind the door that nobody
// opens, and comes again.
//
// # Credit
//
// Unsettled is ready, leased or working; parked, spent and settled count no more,
// nor does what was acknowledged after a push, here or at its home: reports say so. That
// and what is unsettled are at most max_open together.
// The window of each home begins at 1 and gains one for each success up to
// home_window (256). It is at least what open pulls ask for together, on top of
// what one home has here that cannot be handed over (leased, worked on, put off),
// as it was lately when a pull waited for nothing: an app that holds all it asked
// for gets more. Limits are window_max (2,000) for a home, max_open (10,000) for an
// agent, shared by the homes connected, and 64 for all homes at a window of 1.
// Credit dies with the session. With it homes are told why the door is shut, or that
// the agent is killed, so that their word on what waits there says it too.
//
// # The door
//
//	          pull                       5 intents fail, or 20 rejections in a row
//	no_reader ────▶ open ─────────────────────────────────▶ failing, rejecting,
//	    ▲            │ ▲                                       │ unreachable, throttled,
//	    │            │ │                                       │ gone: one probe at a time
//	    └────────────┘ └───────────────────────────────────────┘ success: one in
//	  no pull for 60 s                                            flight, doubling
//
// While it is shut no attempt is counted, windows are at their floor (1, or 2
// while a failing app's reader waits, on top of what is put off, so that there is
// something to probe it with), and what has waited there unleased for 30 s goes back
// to its homes, but for what asked to be durable here, and what an app has put off:
// that does not wait before it is due.
//
// An app that is pushed to shuts its door at once when it cannot be connected to
// or asks for a pause; the first probe goes when the pause is over, and nothing but
// a probe's success opens the door before. What was in flight when the door shut
// comes last, and so does what was turned away. A binding that is switched opens it:
// it says nothing of another URL, nor do the answers that the former app still owes.
// A push that is under way stays with the app until it has answered, whatever becomes
// of the intent meanwhile. What a pushed app's shut door gives back is offered again,
// two at a time for each home: those are its probes, and go back after 30 s. A word without a lease on what the app has
// is a success too. While the door opens again only what was handed over since
// counts as in flight.
//
// # Killed
//
// A killed agent is handed nothing here: its window is 0, what is unleased goes back
// to its homes, waiting pulls end, and later ones, pushes too, wait and get nothing.
// The kill is a word of the journal, which refuses leases from its commit on. What
// the app has may be settled. Lapses go on to be attempts.
//
// # Invariants
//
//   - Nothing leaves before it is durable: held, leases, reports, releases.
//   - Each intent goes to one pull; under one lease; of the pulls that wait, to
//     each in turn.
//   - Every place kept for an offer is settled once, every slot filled or given
//     back, so windows and in-flight counts return to zero.
//   - An offer's trace context is journaled with it, and handed on as it is kept there;
//     what home says of the wait before it is told back with the first report. What the
//     sending app called its trace (X-Trace-Id) is in the envelope, and no app is handed it.
//   - What is in memory is bounded by windows and limits of pulls, not by what
//     waits in the journal; only a start, a release, and at a connect the list and
//     whom its home has sent for, read, a few words each and no envelopes, all that is
//     open here, parked and spent included.
//   - The journal is written to, and read, with no mutex held: who asks for figures
//     does not wait for a disk that hangs.
//   - An offer that nobody could be handed, or on which we panic, is refused for good
//     (schema_invalid, sidecar_fault); a frame on which we panic ends its stream.
//   - Hooks only note and wake. Mutexes are taken in the order session, mailbox.
//   - Where trust is set, an offer is taken only if its home may bring it (refused:
//     policy_denied, with the reason), and a hello only from a peer that may speak
//     for all that its journal has sent and that is here, or reported and not acked,
//     and that has an agent in common with the peer of the journal's last stream, if
//     that lives or ended less than ten minutes ago.
//   - Of one home there is at most one session, and the next begins only when all
//     the last one has read is journaled or dropped.
//
// # Crashes
//
// Everything here but the journal is memory, and rebuilt at Run from what the
// mailbox indexes hold. Doors open afresh, windows begin at 1. Leases granted
// before the start stay valid; if they lapse that is no attempt. Reports not
// acked are sent again, from the first, at each connect. A journal put back to an
// older copy is found out at the hello, here or at home (our hello tells what home was told,
// for home may not know whom it dials): numbers of reports do not fit, or the epoch
// is lower. Nothing is exchanged with it until --accept-loss gives it a new epoch.
//
// # What it does not do
//
// It ends no intent for reasons of time: past its limits an entry is not handed
// over, and home does the rest. It chooses no holder, dials nobody but to knock,
// speaks no HTTP, and knows nobody: [Trust] tells who a home is. Package proxy/webhook sends what a Push hands over. No route
// lets an app wait: what is parked is with people.
package inbound
