// Package controlplane tells sidecars by xDS where agents live and how to send to
// them. It is `pannier control-plane`, and a value that another program starts
// with sources of its own.
//
//	file ─────────┐
//	registration ─┼─▶ merge ──▶ build ──▶ one LinearCache per type ──▶ mux ──▶ ADS ─┬▶ sidecars (delta)
//	dns ──────────┘  (model)   (mesh)     (clusters twice)                          ├▶ gRPC's own clients (sotw)
//	      ▲                                                                         └▶ Envoy
//	      └──────────────── node metadata of the streams ◀──────────────────────────┘
//
// A [Source] reports all it knows whenever that changes. What the sources say is
// put together in a fixed order of belief (merge), built into Envoy's resources
// by proxy/mesh, held to Envoy's rules, and served by go-control-plane's server.
//
// # What holds
//
//   - Nothing is served before every source has synced: a part of the world would
//     be taken for the whole. Clients that connect before wait.
//   - A change is served when the sources have been silent for 50 ms, at most 1 s
//     after it. Only resources that differ are sent.
//   - The version of a resource is the hash of its bytes, and the same service has
//     the same bytes. A client that comes back, or goes to another replica, is sent
//     what differs and nothing else. Clients of the state-of-the-world protocol are
//     sent all.
//   - Additions are made from the endpoints up, removals from the listener down.
//   - What breaks the rules in Envoy's protos is logged and not sent; what was there
//     before stays.
//   - What is served is kept as its bytes: about 4 KB for an agent that a sidecar has
//     registered, all that is known of it included.
//   - A directory of files that has none any more is a mistake, and changes nothing.
//   - A client that asks for a type not served here waits for that type and gets
//     the others.
//   - With an identity ([identity.Trust]) clients must have one, too: certificates
//     under one authority or of one trust domain, or a key of one keyring. Who is
//     not trusted is told why by the status of its stream, and nothing else.
//   - Its listeners hold connections to a share of the files the process may open,
//     and where clients have an identity strangers make way for them
//     ([pannier/proxy/crowd]). A connection carries at most 8 streams.
//   - A sidecar registers those of its agents that it is proven to speak for, by
//     the rules of peers: the mappings, or else the names of certificates; keys by
//     their agents. Of the rest it is told in the header of its stream
//     (mesh.HeaderRefused), and operators at /v1/admin/xds; it is served like any
//     client. Node ids are apart by name, and so is what is announced at one
//     peer address: nobody takes another off the mesh, nor keeps it off by having
//     been there before. Where two names may announce one agent at one address, the
//     first one does, while its stream lives and for the grace. On plain
//     text everybody is believed. What may be announced is judged when a stream
//     says its node. Who would be judged otherwise later (a token that could not be
//     reviewed can, a namespace was annotated, a key has lost an agent) is asked to
//     come again: its stream ends within 10 s.
//   - The authorities of its own file are served as one Secret (mesh.TrustBundle),
//     to sidecars that want to trust what it trusts: several while one takes the
//     place of another, never none.
//   - A sidecar registers by the metadata of its node on its own stream, and again
//     when it sends another node or on another stream; the newest stream counts. A
//     node that says what it said before is no work, unless another stream has taken
//     its place meanwhile.
//     It is announced while the stream lives and 10 s longer.
//
// # Bounds
//
// What a client says is bounded, so that no client makes this process grow without
// end. What is beyond a bound is refused with a text that names it, counted
// (pannier_control_plane_limited_total), and seen at the client's end.
//
//   - 20,000 streams, of ten types each; the next one ends with ResourceExhausted.
//   - A node of 512 KiB is read: 1,000 agents with the longest addresses have 390. A
//     longer one is not announced, and served all the same. Of any node no more than
//     its id, cluster and user agent is kept, 1 KiB of each.
//   - 10,000 sidecars are registered, with 1,000 agents each and 50,000 in all. Of more
//     the first are announced; its sidecar is told, and has the rest announced with
//     its next stream, if there is room by then.
//   - Names subscribed to, and versions that are known, are counted with what it takes
//     to keep them: about 0.5 KB for a resource. Of one type on one stream they are
//     16 MiB, and of all streams 1 GiB. A request beyond that ends its stream with
//     ResourceExhausted; the client comes back, and goes on meanwhile with what it has.
//     Of a request nothing else is kept.
//   - 200 requests a second are read of a stream, 1,000 at once; 4 KiB of one count as
//     one more, and a node that says something new as 50. A client that sends more
//     waits, by the flow control of its stream; that is logged once for each stream,
//     and shown (slowed) at /v1/admin/xds.
//
// # Crash behaviour
//
// There is no state. Sidecars go on with what they know while there is no control
// plane. After a start with the source registration, nothing is taken from clients
// that come with what they know for the first 10 s: those they know of are on
// their way back, too. Clients that know nothing are answered at once.
//
// # What it does not do
//
// It elects no leader: each replica serves from its own sources, and sidecars that
// register at one are not known to the other. It has no LEDS, no ECDS, no REST, no
// state-of-the-world wildcards beyond those of the protocol, and no private keys.
// It has not been run against Envoy.
package controlplane
