// Package inbound is the holder's half of a sidecar: it takes intents from
// their homes, hands them to the readers of their agent under leases, takes the
// app's answers, and reports to the homes.
//
//	home ══ Session ══▶ handle ──admit──▶ journal.Hold ─┐ held, and for a waiting
//	  ▲                                                 │ pull leased, in one commit
//	  ║                 own home ──Take──▶ HoldLocal ───┤
//	  ║                                                 ▼
//	  ║     journal.Mail ──▶ turn ──door──▶ Lease ──▶ Pull ──▶ app
//	  ║                        │                                │
//	  ║                        ├─▶ Lapse, Recover               ▼
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
// acks are journaled by a loop of their own.
//
// # The door
//
//	          pull                       5 intents fail, or 20 rejections in a row
//	no_reader ────▶ open ─────────────────────────────────▶ failing, rejecting
//	    ▲            │ ▲                                       │ one probe at a time
//	    └────────────┘ └───────────────────────────────────────┘ success: one in
//	  no pull for 60 s                                            flight, doubling
//
// While it is shut no attempt is counted, windows are at their floor, and what
// has waited there unleased for 30 s goes back to its homes, but for what asked to
// be durable here.
//
// # Invariants
//
//   - Nothing leaves before it is durable: held, leases, reports, releases.
//   - Each intent goes to one pull; under one lease; of the pulls that wait, to
//     each in turn.
//   - Every place kept for an offer is settled once, every slot filled or given
//     back, so windows and in-flight counts return to zero.
//   - What is in memory is bounded by windows and limits of pulls, not by what
//     waits in the journal.
//   - The journal is written to, and pages of it are read, with no mutex held; only
//     an offer about to be refused looks up its one record under the mailbox's.
//     Hooks only note and wake. Mutexes are taken in the order session, mailbox.
//   - Of one home there is at most one session, and the next begins only when all
//     the last one has read is journaled or dropped.
//
// # Crashes
//
// Everything here but the journal is memory, and rebuilt at Run from what the
// mailbox indexes hold. Doors open afresh, windows begin at 1. Leases granted
// before the start stay valid; if they lapse that is no attempt. Reports not
// acked are sent again, from the first, at each connect.
//
// # What it does not do
//
// It ends no intent for reasons of time: past its limits an entry is not handed
// over, and home does the rest. It chooses no holder, dials nobody but to knock,
// and speaks no HTTP. Streams of hand-overs, pushing by http and threads are not
// built yet; a reader is a pull.
package inbound
