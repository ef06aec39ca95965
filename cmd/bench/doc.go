// Package bench measures two sidecars over real sockets: what they take, what they
// deliver, how long that takes, and what it costs, beside what the same machine
// does without them in the same minute.
//
//	this process                     children                    this process
//	┌──────────────┐  POST  ┌──────┐  offers   ┌────────┐  http │ poll │ stream  ┌─────┐
//	│ load         │───────▶│ home │══════════▶│ holder │◀───────────────────────▶│ app │
//	│ closed, open │        └──┬───┘  reports  └───┬────┘         settle          └─────┘
//	└──────┬───────┘  open, commits (admin), CPU and memory (/proc)
//	       │  POST  ┌──────┐
//	       └───────▶│ echo │  and one writer that syncs a file: the floor
//	                └──────┘
//
// Home, holder and echo are processes of their own, started anew for each item. The
// load and the app share this one, so their cost is one figure ("load").
//
// # What is counted
//
//   - A slot posts for Options.Time in closed loop: each client has one request under
//     way, and at most Clients × Window intents are accepted and not answered by the
//     app. It ends when home has no open intent, and the end-to-end rate is what home
//     has ended over the whole time. What home calls a dead letter, or what the app has
//     not seen, is an error of the whole run: no rate leaves anything out.
//   - A pair is a slot of the echo and one of the item, side by side; the order turns
//     with each pair (A B, B A, …), so that what drifts cancels. Ratios are of pairs.
//   - Latencies of the open loop count from when a request was due, not from when the
//     generator got to it.
//   - Before and after each pair one writer syncs for a moment (the canary). A pair
//     where that is more than 1.5 times the quietest of the run is discarded and
//     counted; where all of an item are, its figures are shown and marked.
//   - CPU is of whole processes, from the start of a slot to its end, divided by the
//     intents it ended. So are page faults, which do not depend on what else the machine
//     does.
//
// # Crashes
//
// A failure, and SIGINT or SIGTERM, end the children and take their directory away.
// Killed, it leaves the directory, pannier-bench-…, and no children: the kernel ends
// them with it.
//
// # What was tried
//
// On two virtual cores, where a page fault costs 30 µs and a sync of a mapped file 0.6 ms
// of CPU (written and synced as a file it is 0.2), what an intent costs follows the
// commits and the bytes it is written with, not the instructions of our own code. So:
//
//   - Collecting the heap twice as often (GOGC 50) took a tenth off the CPU of an accept:
//     it has fewer fresh pages touched.
//   - Badger's log as a file that is filled with zeros, or allocated, beforehand: a sync
//     costs the same.
//   - Badger, asked to sync its writes, syncs two files for each commit, and one of them
//     is never written: the journal syncs the other by itself (journal/wal.go).
//   - A committer that yields to the scheduler before it takes a batch made a fifth fewer
//     commits at a holder, for no CPU to be seen, and where somebody spins each commit
//     waits for them: it does not.
//   - Of a blocking sync the runtime's own monitor costs as much CPU as the kernel: it takes
//     the processor away after 20 µs, and then looks 50 times at 20 µs each. 8 to 16 % of a
//     sidecar's profile are that, and they follow the number of commits.
//   - A committer that begins no batch within 2 or 5 ms of the last where four callers came
//     together: where a sync takes a millisecond batches are as large without it, and on a
//     tmpfs a third fewer commits were no CPU to be seen.
//   - Huge pages for the heap (madvise of 64 MiB that are then freed): half the page faults
//     under batches, and the same CPU, for the kernel zeroes 2 MiB at each.
//   - Buffers of gRPC in all powers of two, where it has none between 32 KiB and 1 MiB: as
//     many page faults as before.
//   - A fifth fewer allocations and a tenth fewer keys written are a tenth of the CPU of
//     the journals.
//
// # What it does not do
//
// It measures no network: all of it is on loopback. It says nothing of a machine under
// other load but that it is under load.
package bench
