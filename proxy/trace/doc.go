// Package trace makes the spans of a sidecar, and is the only place that knows their
// names: the conventions for messaging are not stable yet.
//
//	app                  home                                   holder                app
//	 │ POST /v1/intents   │                                        │                   │
//	 ├───────────────────▶│ SERVER    POST /v1/intents             │                   │
//	 │                    │  └ PRODUCER create {dest} ◀─ ─ ─ ─ ─ ─ links of all below  │
//	 │                    │     └ CLIENT send {dest} ═════ offer ═▶│                   │
//	 │                    │              │                         │                   │
//	 │                    │              └ CONSUMER process {dest} │ stream, http ────▶│
//	 │                    │                CLIENT   receive {dest} │◀──────────── poll │
//	 │                    │                CLIENT   ack {dest}     │◀────────────  ack │
//
// The context of create is the intent's: it is journaled with it, and unchanged from
// then on. Everything later links to it, and each attempt to the attempt before it,
// wherever that was. A send is a child of create, a process of the send, when it
// begins soon after; later than Options.TraceParentMaxAge it is the root of a trace of its
// own, with the same links: a trace that goes on for hours is of no use. So is the
// process of what a peer of another trust domain has sent: it links to the send, and is
// sampled as this side samples. A receive
// hangs below the poll, and a settle below the request it came with: those are the
// app's traces. A redrive is a root, and linked to what it repeats.
//
// A push that the app acknowledges (202) is over, and says that the work is not; what
// the app answers in the end links to it. On a stream the span goes on until then.
//
// The app is told a traceparent: on a stream and by http that of the process span, by
// poll that of the intent's creation.
//
// What an app says in X-Trace-Id is none of that: SDKs put a random UUID there, and ids
// of that form break sampling by ratio. It is journaled and an attribute, to find by.
//
// Others know nothing of spans: they say what happened to the [Tracer], through
// interfaces of their own, and pass strings on. The journal keeps those strings, so
// links reach over crashes, and so does the span of a hand-over on a stream: it is
// made when it ends, under the ids its start was given ([IDs]).
//
// # Invariants
//
//   - With nothing to export to, no span is made; what contexts the sender's app has
//     given are passed on as they are. None is made up then: an app that was handed
//     one would take its sampling from it, and look for a parent nobody has.
//   - No method waits: spans go into a bounded queue ([pannier/proxy/trace/otlp]), and
//     those of streams pass one before that. What does not fit is lost, and counted.
//   - An intent that has no context (accepted by a sidecar that traces nothing, an
//     event for a subscriber) is traced from the holder on, without links to its creation.
//
// # Crashes
//
// Spans under way, and what is queued, are lost: of a send, a push, a poll. Journaled
// contexts stay, and links to lost spans with them.
//
// # What it does not do
//
// No span of a hop between sidecars: send is that. No spans of offers to our own
// mailbox, of extends, of what an app reads. No metrics, no logs, no baggage.
package trace
