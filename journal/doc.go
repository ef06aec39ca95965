// Package journal keeps intents. It is the only writer of one Badger store and
// serves a sidecar in both its roles: as home of the intents its app posted,
// and as holder of those it hands to its app.
//
//	Accept ───────┐                                   ┌─▶ Due      (index o) ─▶ outbound
//	Apply ────────┤  queues    ┌───────────┐  fsync   │
//	Requeue… ─────┼─ by ─────▶ │ committer │ ────────▶├─▶ Mail     (index n) ─▶ inbound
//	Hold, Lease ──┤  urgency   └───────────┘  then    │
//	Settle… ──────┘             one batch,    hooks   ├─▶ Reports  (index q) ─▶ inbound
//	                            one txn               ├─▶ Ended, Continued, Changed ─▶ outbound (revoke, update)
//	                                                  ├─▶ Moved ─▶ inbound (credit)
//	                                                  └─▶ Watch, answers to callers
//
// An operation runs on the committer against what is on disk overlaid by what
// the batch has written so far; it decides and writes, all or nothing. That is
// where idempotency keys, leases, offer numbers and the two tables of package
// state are looked at, so two callers in one batch cannot both win.
//
// # Invariants
//
//   - The batch that ends an intent accepts its completion where somebody is to be
//     told (reply_to): an intent like any other, under an id made of the first's,
//     with no completion of its own, due in the lane of its address: a destination
//     beside that of what waits there for a reader. Kept as a thread it is held and
//     done in one commit.
//   - An intent that needs approvals has parts: for each an intent of home's own, a
//     person's task under an id made of the first's and its number. Parts of one turn
//     are open at once, turns follow each other. The end of a part moves its parent, to
//     the next turn, into the due index, or to its end, and the end of a parent ends its
//     parts, in the batch of that end. Until then the parent is parked, SUBMITTED;
//     limits of time that were not given count from the last approval.
//   - An intent with a workflow has parts, too: its steps, of which one is open while the
//     intent is, which is offered to nobody. The end of a step and the begin of what follows
//     (its retry, the next step, the end of the whole) are one commit, so however we stop
//     none is lost and none is begun twice; the id of a step's intent is made of the
//     parent's, the step's place and the number of the try. A step leads to none before it.
//     A time that passes is a step that completes by itself, found by the sweep. What a step
//     tells (Tell) is one commit with its begin, and waited for by nobody.
//   - Options that controls and policy change are home's, under a generation that
//     starts at 0 and only grows; a hand-over has them as of the generation it knows,
//     and takes over none that is older. Where the limit of attempts is lowered to
//     those made, what the app has is let finish, and the rest is given to nobody.
//   - A method that changes something returns, or calls its done, when that is
//     durable, and hooks run only for what is. RecordHeld alone may be lost. Nobody
//     reads what is not: who takes a snapshot waits for the sync under way.
//   - Each open intent is in exactly one place: the due index, the list of its
//     holder, our own mailbox, or parked. Each open hand-over has exactly one
//     entry in the mailbox index: the next time it matters. Beside its place every
//     open intent is in the expiry index, and a sweep over that, at home only, ends
//     what has passed deliver_by or its deadline.
//   - For an intent of our own there is no report: the hand-over's move and the
//     lifecycle's event are one commit.
//   - An offer number is raised before another journal may get the intent. Reports
//     under a lower one change nothing, but a final answer counts under any.
//   - A dead letter is in the index of dead letters from the batch that ends it, and a
//     holder's copy from the batch that says why home ended it, until it is purged; its
//     events come with that word, but for a home whose stream is full of others. It
//     has at most one successor, made in the batch that marks it as redriven, with the
//     options it had in the end.
//   - A thread is one record for all who have it in an inbox, written in the batch
//     of what it shows. Its change number is made of the batch's, so it only grows. It is
//     in the index of each of its inboxes once, and in that of all; nothing rests on
//     that index but readers. A task, a completion and what was delegated have a thread
//     in any case, all else from the first look into the inbox of its sender or receiver
//     on: that look makes those of the newest 1,000 of before, and so do journals of before
//     there were threads get theirs. A decision, its entry and the end of its intent are
//     one commit, and the first decision counts: that which home journals, also where
//     the sidecar of the people has let another one be given. What its thread shows when
//     home's word has come is written at handThreadRuled, case by case; where others are
//     asked instead, it is withdrawn, and no decision is taken there any more.
//   - A task whose people are at another sidecar is offered there, in the lane of
//     completions, and waits in both places: the first decision that home journals wins.
//     An approval is such a task. Where they are may become known after it was asked
//     (AskElsewhere).
//   - What changes a thread tells subscribers in the same batch, at most 32 of them, but
//     for what a first look into an inbox makes of before. Their deliveries are threads of
//     nobody's. Of what an operation does it tells in at most 128 KiB, and in none where it
//     has itself no room for them: a decision is not refused because many hear of it. What
//     is told to nobody for that is reported (Hooks.Warn).
//   - A turn of a person's task (it is assigned, delegated, reminded of, escalated, decided
//     or has run out of time) and the messages about it (Tell) are one commit. Each is an
//     intent like any other, under an id made of the turn and of whom it is for, to an
//     address that no app can name, and a thread of nobody's; at most 32 a turn. Of a task
//     that another home has sent, reminders and escalations are told there.
//   - An index key says where to look; the record decides.
//   - How much waits where, and since when, is counted beside the store: by one walk
//     over the keys at Open, then by each commit. Figures never read Badger. What a
//     batch has done is told (Counted) once it is durable, before its callers hear.
//   - From an agent that is killed nothing is accepted, and to it nothing is leased,
//     from the commit of the kill on. What was accepted before stays where it is.
//   - Of the keys of service accounts only hashes are kept.
//   - The lifecycle changes in one function (move), a hand-over in one (step).
//   - Schemas and subscriptions are in memory whole, at most 256 of each. A notice
//     and the intents that deliver it are one commit.
//   - The intent of a schedule and the move to the time after it are one commit, under an
//     id made of the schedule's and the time: none is lost, and none made twice, however
//     we stop. A time only moves on: a clock put back makes nothing again. What was missed
//     (a minute late or more) is one intent, none, or one each for a hundred, as the
//     schedule says. There are at most 256, in memory whole.
//   - A hand-over says in whose name its intent was sent, from the commit that holds it,
//     so that no envelope is read to tell whom a home speaks for. One held before hand-
//     overs said it, or from a sender with a name longer than any address, is looked up
//     in its envelope until it is finished.
//   - The context of an intent's creation is in its envelope and never changes; that
//     of an attempt is in the record of its hand-over before the app is told of it
//     (of a push: with its answer), in its report, and in home's head. The journal
//     reads nothing in them.
//   - An operation that panics has changed nothing. The intent it is about ends as a dead
//     letter (sidecar_fault) in the next batch, before its caller hears: the first time where
//     it is we who come by (a timer, a lease, an offer, a report), the third where an app or a
//     person asks, since it may be what was asked for that is at fault. Where the end panics,
//     too, it ends with nothing else: nobody is told, and what waits for it as for a part ends
//     likewise. Where even that does, it stays, and is passed over. At a holder it is rejected,
//     and home told why. What panics after a commit (hooks, callers told) ends the process.
//   - A report that cannot be applied counts as applied, and its intent ends so: else it would
//     be repeated for ever. One that cannot be read at the holder is sent as one about nothing;
//     home then is to ask what is held, offers again what it does not find, and is answered.
//   - Reports of one home have consecutive numbers; what home has applied and the
//     events it wrote are one commit.
//   - A report that no batch has room for is applied without its body, and the outcome
//     says so: refused, it would be repeated for ever, and none after it heard. Texts of
//     a log are cut short once there are many, so that it does not come to that.
//   - Of homes that were never told anything 10,000 are on record; more are forgotten,
//     those longest gone first, but for what is connected or held. Those that were told
//     something stay: only their number of reports tells repeats from new ones.
//   - Envelopes and outcomes are cut into chunks of 256 KiB, in one batch with the
//     head that names them. The largest other record is an event log: at most 400
//     events beside the lifecycle's, texts cut at 2,000 bytes.
//   - Before each batch and every 250 ms the volume is looked at. Where little is free
//     (space.go says how little) nothing new is accepted or held, until there is clearly
//     more, and all else goes on; where next to nothing is, it gives back the room it keeps in
//     reserve (ballast.go), and with that gone, too, the journal fails before it
//     writes, and is not opened: the store would die of it. A start after a crash where little
//     is free begins with that reserve: what the crash has left must be written first.
//   - Room that the store is about to take by itself, for the table of a log and for a compaction,
//     which makes all of its tables before one goes, is kept free whatever the size of the volume
//     (growth.go). What another takes in one go while the store writes one of them ends the process
//     by SIGBUS: nothing acknowledged is lost, and the next start says that the volume is full. To
//     take up the room of a log in advance would not help: Badger writes its head, and all of a
//     table, before anybody else can open the file. It would cost memory where that is the volume.
//   - Connections leave this process 64 files to open, and 32 more are held open for
//     nothing. Those are given up where something else has taken the rest: no connection is
//     taken then, what is opened here is tried again, and a batch waits until the store would
//     get its next files, for ten seconds (openfiles.go). The store itself tries nothing again.
//   - A batch that has been under way for five seconds is said to be stalled, and one of
//     thirty fails the journal: a disk that hangs answers nobody (stall.go). A volume that is
//     frozen is waited for before a batch, not in it (volume.go).
//   - What has ended is history: the batch of its end puts it into an index by that time.
//     Its bodies go after a day, the rest after a week, and the oldest whole where all of it
//     takes more than may be; what it takes is counted with each batch. A dead letter is
//     none of it and goes after a month. What home has not heard of stays at its holder, an
//     approval as long as what it is for, and an id at a holder for a day, whatever room they
//     take. Threads go with their intents, idempotency keys after their day, webhook
//     events with their last delivery. Of what is gone there is no record but up to when it
//     may have ended.
//   - What is deleted takes room until a compaction drops it. Under traffic the store sees to
//     that by sizes, so what deletes a body weighs a sixteenth of it. Once 100,000 keys, and
//     one for ten that there are, have been deleted, a store of up to 512 MiB is compacted
//     while it is quiet, if neither space nor inodes nor open files can run out in it: a
//     compaction that cannot make a table loses its keys.
//   - A snapshot lasts for a page of reads (page.go): while one is open no compaction drops what
//     has been deleted since. What is read page by page says what may be seen twice or missed;
//     of what is held nothing is missed.
//   - Of what is queued, what finishes work goes first (reports, settles, leases,
//     words, endings), then what is to be held, then what is to be accepted, and last what the
//     history lets go, which each batch takes a slice of; of each
//     at most 4,096 operations wait, then their callers do.
//
// # Time
//
// Times are the wall clock's. How much has passed is known beside it while we run, and the
// two are compared each second: where they stray from each other by more than a minute, the
// clock has jumped. Over a restart how long the machine has been up says what has passed
// (SinceBoot). Where that has started anew, or the volume has moved to another, the clock
// has jumped if it went back, or by more than a year ahead: less is how long we were down.
// Until it has held for two minutes, and for as long as it jumped ahead, so that nothing
// loses time to it,
//
//   - nothing expires, and nobody is reminded; what is left of a limit is told, and acted
//     on, as if the clock had not jumped;
//   - no key is forgotten, nor is one before the clock has held two minutes from a start on.
//
// A clock that is right again ends that in two minutes; one that stays ten years ahead ends
// nothing until somebody says that it is right (AcceptClock). Schedules go by a clock that
// has held for two minutes, and treat what it has passed over as missed; a clock put back
// makes nothing twice. What is due later (deliver_at, pauses) is due by the wall clock:
// ahead it comes early, back late. A lease is ended by no clock that has jumped ahead since.
// Once a clock that was put back has held, leases and pauses are brought back by as much,
// and with more than a day all that it has put off. A limit set by it stays.
// A machine that slept looks like one whose clock was put ahead.
//
// Of less than a minute nothing is said, and nothing pauses. From a second ahead on what was
// begun before still has all its time, lease or limit, and what begins after up to that much
// more; it wears off by a hundredth of the time that passes, 59 s in 100 minutes. Put back by
// less than a minute the clock ends both late by as much. All else goes by it: what is due
// later, pauses and retries come up to a minute early or late, and a key may be forgotten a
// minute before its day is over. How far a clock has strayed is forgotten with a stop: what
// was begun before may then end that much early; a lease that does is no attempt.
//
// # Crashes
//
// Before a commit nothing has happened; after it everything has, and is found
// again at Open. What is only in memory can be lost without harm: cursors (set
// back to the start), which holder has said held (reconcile tells again), hand-over
// numbers up to the next block (skipped).
//
// A commit that fails leaves its outcome unknown: the journal is poisoned, every
// call is refused, and the process must exit; the next start reads what is there.
// The store may lose a table in a compaction, or bring a key back, without a word. The scrub reads
// the live set again while the journal runs (scrub.go): every five minutes, and half a minute after
// the set of tables has changed. An index that is not what was written stops the journal like a
// failed commit, before more is acknowledged; Open builds it anew from the records where those
// name exactly what was written, and else refuses. Its interval is an option: a large backlog may
// be read less often, and never not at all. A record that cannot be read is kept apart and
// said (Corrupt), and its intent is a dead letter, made of what is left: by the scrub, or at once where a
// reader comes by; what has ended stays as it did, without that (endedbody.go). A thread that
// cannot be read is in no inbox, and its intent goes on. A table at which the store panics stops
// the journal (storepanic.go). Where its file is damaged the next start makes that anew, if all
// that is wrong there is what nobody needs any more (healtable.go), and else refuses. One that a
// start is to have in memory (an address, an account, a schedule) refuses the start, which
// names it. A hand-over that cannot be read is forgotten, since nothing tells whose it is: home
// finds it missing when it asks next (Lost), and offers it again.
//
// What is gone nobody brings back, but a start may be told to go on without it (AcceptLoss):
// files that cannot be used are left out and kept, a damaged table is made anew of
// what can be read of it (mendtable.go), also without its index (tableblocks.go), and so is a log: of a
// transaction that has lost entries it has the others, but of the last where nobody was told of that
// (mendlog.go). Without MANIFEST all tables are merged (manifestanew.go). All the rest is verified and
// made to hold by what its records say, a dead letter that has lost what was sent stays one without it
// (hollow.go), as does what has ended and has lost its bodies or a part of them (endedbody.go). An
// idempotency key that is lost is refused until its day is over, since what it was used for may be
// here (salvagekey.go). What was open counts as handed over before: what is on record of it may be
// older than what has become of it. And an epoch begins, in which batches and hand-overs are numbered
// on from where no copy has been (loss.go, salvage.go). Where there is no room for what is made anew
// such a start is refused, and what was written half is gone again. Where it is cut short the next
// start refuses, or is told so again: what was found gone is on record before anything is done about
// it, and said by the one that comes to the end (lossnote.go).
//
// After an unclean stop Open first verifies without compacting, because Badger's
// compactions can make a damage permanent without saying so. The high-water mark
// beside the store is replaced once a second while there are commits, and at a
// clean close: it shows when batches acknowledged a second or more before the stop
// are gone, and where the store has come to the very batch of the mark, by another live set, that
// it is that of a copy which went on elsewhere. What the store itself loses no mark would show:
// the fingerprint is in one record with the number of the batch, and is compared with the live
// set at each start. Failing to write it poisons the journal like a commit.
//
// Badger takes some damage of its files for what a crash leaves, and goes on without the rest,
// or ends the process. So they are read before it opens them (files.go): what a crash cannot
// have left is refused. "go test ./journal -run TestFlips -flip.n 1200 -flip.seed 77" makes that
// many starts with a wrong bit or two wrong bytes each; none may quietly lack what was accepted.
//
// A start reads every table once, and the live set by its keys once, whatever the stop was
// like: with a million intents that is about all that it takes.
//
// Two processes never have one journal: a lock sees to that on one host, and a file that says
// who has it on volumes that several can mount. A start where a process of another host, or of
// before a reboot, has not said that it is done takes four seconds longer.
//
// A journal of an earlier schema is brought to this one at Open, before anything
// else is committed: what ended as a dead letter before there was an index of them
// is put into it. Cut short, that is done again at the next start. Programs of the
// earlier schema refuse the journal from the first of these commits on. What few journals have
// raises the schema in the batch that first writes it (needs), and of no other journal.
//
// # What it does not do
//
// It speaks no HTTP, dials no peer (it only records which journals it has met,
// and how far reports have come), keeps no connections, retries nothing, and
// has no logger: it reports through Hooks. The scrub, and what builds
// indexes anew, see to the live
// set alone: entries of inboxes, of the history and of idempotency keys that the store loses are
// found by Verify, and made good by a start that accepts the loss, only. How a hand-over that is
// forgotten counted against credit is found out at the next start. Addresses stay, of which there
// may be 20,000, and
// what was answered here for a home that never comes back. Service accounts, at most 1,000 with 16 keys each, are all in
// memory too.
package journal
