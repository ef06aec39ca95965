// Package xds is the sidecar's client of control planes: it subscribes to the
// agents that outbound and inbound ask for, over one stream of the aggregated
// discovery service in its incremental form (delta ADS), and answers where they
// are and how to send to them from memory.
//
//	outbound, inbound                     Client                               control planes
//	┌───────────────┐          ┌──────────────────────────────┐
//	│ Endpoints ────┼── ask ──▶│ agents ──names──▶ resources ─┼── names, 15 ms ──▶ first server
//	│ Policy        │◀─ Read ──│   ▲ assemble        ▲        │                    (the next only when it
//	│ Elsewhere     │          │   │                 │ parse, │◀── responses ────  is away and something
//	│ Changed ◀─────┼── close ─│ refresh ◀───────────┘ check  │── ACK, NACK ─────▶ is missing)
//	└───────────────┘          │                    file      │
//	                           └─────────────────────┼────────┘
//	                                          last known good
//
// An agent is four kinds of names: its RouteConfiguration, the Clusters that
// names, the ClusterLoadAssignment of each, and for all agents one Runtime layer
// of switches. Beside them there is, where it is wanted, one Secret with the
// authorities of the mesh. A question about an agent subscribes to it; questions within 15 ms
// are one request. An agent nobody has asked for in an hour is let go of, after
// whoever watches the directory was woken once to ask again.
//
// # Invariants
//
//   - Whatever a control plane does, or does not, what is in force stays until
//     there is better: a server that goes away takes nothing along, a resource that
//     is refused leaves its last good, a deleted one is used on for DeletionGrace,
//     a route is swapped in when its clusters are whole (or after 15 s). An empty
//     ClusterLoadAssignment is no mistake: it is obeyed.
//     With FailOnDataErrors a deletion, a refusal, or the server's word that it is
//     not there or not for us, ends the use of a resource at once: what goes there
//     waits. What only passes, such as a server that is away, never does.
//   - A trust bundle is replaced by another, and by nothing else: an empty one is
//     refused, one with a private key too, and one that its server deletes stays in
//     force without end, over restarts too.
//   - Each resource is judged alone, by its generated rules (PGV) and by what this
//     sidecar can use; a NACK names those refused and why, and the others of the
//     response are in force. A later good version mends it on the same stream.
//   - A resource that does not come within NotFoundAfter from a server that speaks does not
//     exist. A server that has never spoken is no authority.
//   - The next server is asked when none before it can be reached and something is
//     missing: where an agent is, or, 10 s after one was lost, a server that hears of
//     the agents here. It is left when one before it speaks.
//   - Every stream begins with a subscription to all Runtime layers, without known
//     versions: servers answer that even when they have nothing new, so silence for
//     60 s is a dead server; a layer that does not come
//     within NotFoundAfter of it was deleted. After the first response nothing is stale any more.
//   - Only types whose code is linked are asked for. A response for another is
//     ignored and counted: to acknowledge it would ask for everything of its type.
//   - Between two tries are 1 s, times 1.6, up to 30 s, with full jitter; only a
//     response resets that. A stream that ends after a response is no error.
//   - A server that does not announce the node as it asks to be says so in the
//     header of the stream (mesh.HeaderRefused): it is logged, and in the status.
//   - The node goes with the first request of a stream, so a change of it (agents
//     served, address, draining) ends the stream and opens the next on the same
//     connection at once, with the versions of all that is known.
//   - A token (Options.Token) is read for each stream, so a new one counts with the
//     next, and is shown over TLS or on loopback only.
//   - Bounded: 20,000 agents, 16 MiB a response, 4,096 endpoints a cluster, 16
//     clusters a route, 8 servers; 16 MiB of resources in an answer of CSDS, and four
//     who ask for one. Nothing here gates the sidecar's start,
//     readiness or accepts.
//
// # Status
//
// Operators read it as JSON of the admin listener; the same listener takes gRPC's
// tools (CSDS), over HTTP/2 without TLS. Both show each resource: REQUESTED,
// DOES_NOT_EXIST, ACKED, NACKED, RECEIVED_ERROR, its version and when it came, the
// error, its version and when that came. What is in force is shown with each; a copy is
// taken in memory's time, and encoded while nobody waits.
//
// # Crashes
//
// What is in force is in one file, written beside it, synced, renamed, and its
// directory synced: a crash at any step leaves the one before or the new one. It
// is read before anything is listened to, and marked stale until a server speaks;
// its versions go with the first requests, so a restart, also against another
// replica, costs only the differences. It is a second behind at most; what it
// lacks after a crash is asked for again. A broken or a month old file is left
// out, with a line in the log. The times of deletions are in it, so their grace
// goes on.
//
// # What it does not do
//
// No state of the world form: a server that has no delta answers Unimplemented and is
// out of reach, and the status says so. No
// listeners, no secrets but that one, no LEDS, no xdstp names, no load reports. It does
// not judge whether a server may say what it says: the credentials it is given do.
// It pings every 30 s; a server must allow that, as Envoy's and Istio's do.
// The client status discovery service (CSDS) is for one client, itself: it takes no
// node matchers. It has no word for what is stale.
package xds
