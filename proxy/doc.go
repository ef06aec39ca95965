// Package proxy is the sidecar as a process: it wires the packages, opens the
// listeners, and stops in order. Nothing else lives here but options, the
// config file, the static peers file, the API keys file, the people file and a loop that gives memory back at rest.
//
// Read this first, then journal/state, journal, outbound, inbound, proxy/api, proxy/webhook,
// proxy/mesh, proxy/xds, proxy/identity.
//
// A sidecar is one process with three listeners: app (HTTP), peer (gRPC) and
// admin (HTTP), each with a share of the files the process may open as its most
// connections, and so has what is dialed: the journal keeps the rest, or whoever can
// connect, or names enough sidecars, could stop it. Who asks nothing makes way for who comes; at
// the peer listener, with an identity, who proves nothing does ([pannier/proxy/crowd]).
// `pannier dev` runs two sidecars and a control plane in one process; `pannier control-plane` is another
// program in the same binary ([pannier/proxy/controlplane]). Every other verb is
// a client of one of the HTTP listeners, but version, config, bench, which starts sidecars of its own,
// verify, which reads a stopped journal, and drain, which runs one without an app.
//
// # The system
//
//	              sidecar of the sender                      sidecar of the receiver
//	          ┌────────────────────────────┐              ┌────────────────────────────┐
//	app A ──▶ │ api ──accept──▶ journal    │              │    journal ◀──lease,       │ ◀── app B
//	  POST    │                 = home     │              │    = holder   settle── api │  poll, ack
//	          │                   │ due    │              │      ▲  │                  │
//	          │                   ▼        │    offer     │      │  ▼                  │
//	          │              outbound ─────┼─────────────▶┼─▶ inbound                  │
//	          │              dispatcher    │ ◀────────────┼── peer server, mailbox     │
//	          │                   ▲        │ held, report │                            │
//	          │              directory     │              │                            │
//	          └───────────────────┼────────┘              └────────────────────────────┘
//	                     peers file, or xds
//
// Both halves are in every sidecar. One that serves the addressed agent itself
// takes its own offers: the dispatcher calls the mailbox without a wire.
//
//	cmd ──▶ proxy ──▶ proxy/api, admin, webhook, xds ──▶ outbound, inbound ──▶ journal ──▶ Badger
//
// outbound and inbound never import each other: this package wires them. Badger is
// imported by journal only. A test holds the imports to this.
//
// Who does what:
//
//   - [pannier/journal] keeps intents: one committer, one store, the two tables
//     of journal/state. It calls the others through hooks.
//   - [pannier/outbound] is home's side: it offers what is due to the sidecars
//     that serve the agent, and applies their reports.
//   - [pannier/inbound] is the holder's side: the peer server takes offers, the
//     mailbox hands them to the app and takes its answers.
//   - [pannier/proxy/api] is HTTP for the app, [pannier/proxy/webhook] sends to an app
//     that receives by http, [pannier/proxy/admin] is HTTP for operators, and
//     [pannier/proxy/pages] what a browser sees there, made from the routes of the app API.
//   - [pannier/proxy/notify] tells people of their tasks by webhook, chat and mail.
//   - [pannier/proxy/xds] asks control planes where agents live, in the terms of
//     [pannier/proxy/mesh]. Either it or the peers file is the directory, never both:
//     where they differ neither could be believed.
//   - [pannier/proxy/trace] makes spans of what the others do, and exports them where
//     the environment asks for that.
//   - [pannier/proxy/metrics] is the page of figures, which all of these give.
//   - [pannier/proxy/identity] proves to other sidecars who this one is, and judges them.
//
// # Words
//
//	intent        one durable message with a lifecycle
//	agent         an address: what intents are sent to, and an app receives for
//	home          the sidecar that accepted an intent; it alone writes the lifecycle
//	holder        the sidecar that has it in its journal to hand it to its app
//	offer, held   home offers an intent; the holder journals it and says held
//	offer number  counts offers of one intent to one journal after another, and those
//	              after an operator's word
//	release       the holder gives an unleased intent back
//	hand-over     the holder gives an intent to its app: sends it (a push), or hands it
//	              out under a
//	lease         an id and a deadline that fence the answer
//	stream        the log of an agent's hand-overs, read as server-sent events
//	settle        the app's answer under its lease: ack, nack, extend
//	report        what the holder tells home of a hand-over; numbered, kept until acked
//	attempt       a hand-over the app received and failed, or let lapse
//	mailbox       what is held for one agent and not yet answered
//	binding       how the app of an agent receives: stream, poll, inbox, http; as configured, or as set
//	              while running, which is kept in the journal and beats the configuration
//	door          the breaker between a mailbox and its app
//	credit        how many unsettled intents of an agent a holder will hold for one home
//	due           waits at home to be offered
//	unsettled     held, and neither answered nor waiting: it counts against credit
//	parked        of an intent: waits for an operator, offered to nobody (one out of
//	              attempts stays with its holder); of a hand-over: its app waits
//	word          resume with control fields at home: the intent goes on
//	update        how the holder is told of it, and of changed options
//	probe         the one intent that tries a shut door, or an open breaker
//	reconcile     at each connect the holder lists all it has from home; home keeps or
//	              revokes each line, tells the words missed, and takes back what is missing
//	knock         a holder asks a home to dial it
//	boot          one start of a journal; a lease of an earlier one lapses without an attempt
//	AXP           the public intent API whose names and bodies the app API speaks
//	breaker       what keeps home from offering to an endpoint that does not answer
//	endpoint      HOST:PORT of a sidecar that serves an agent
//	directory     which endpoints serve an agent, and its policy: the peers file, or control planes
//	policy        how the traffic to an agent is sent: pause, limits, breaker, split
//	split         parts of an agent's intents by weight, each to one subset
//	subset        endpoints that share a part of a split
//	control plane a server that tells sidecars by xDS where agents live
//	last known good   what control planes have said, in a file, for a start without them
//	stale         in force, and no control plane speaks
//	learned       an agent served here because its app asked, not by configuration
//	dead letter   an intent that ended for a reason of delivery; its last holder has a copy
//	redrive       makes the one successor of a dead letter: a new intent, with the first
//	              ancestor's id for whoever gets it
//	purge         removes a dead letter for good; a note of it stays
//	completion    an intent of home's own that tells reply_to how another has ended
//	thread        how people read an intent: who has it in an inbox, what they said, what was
//	              decided; a completion is one where it arrives, done, and handed to nobody
//	inbox         the threads of an agent; as a binding: its intents are for people
//	gate          an approval that must be given before an intent is offered
//	part          an intent of home's own that another waits for: each gate is one
//	turn          gates that are asked for at once; turns follow each other
//	generation    number of the options of an intent, as controls and policy change them
//	identity      journal id and epoch: one life of a journal
//	peer          the sidecar at the other end of a channel, as its certificate or key proves it
//	speaks for    an agent: may send as it, and receive for it
//	creation context  the traceparent under which an intent was created; what is done with
//	              it later links to that
//	durable       synced to the volume; in the ready line: the volume outlives the host
//
// # Settings
//
// A setting is a row of one table (settings.go): its key in the config file, its
// flag and variable, its help and its schema. Default < file < environment < flag,
// at the start and at every edit of the file. Few are live: those whose change
// needs nothing to be taken apart. The others wait for a restart, and are named in
// the check `config` meanwhile; of a file that is wrong in any setting, none acts.
//
// # Start and stop
//
// [Proxy.Run] opens the journal and the listeners, answers operators, starts the
// loops (directory, config file, API keys file, people file, identity, keyring, discovery, mailbox, peer sessions, dispatcher, memory), answers peers, and lets
// the app in last and says so. It waits for no app, no peer and no network: apps often wait for their sidecar. Where ctx
// ends while the journal is being opened, on a disk that hangs, that has 5 s more, and is left.
//
// When ctx ends (SIGTERM):
//
//  1. /readyz is 503, control planes hear that we drain, no credit is given, waiting polls and
//     streams of agents end, nothing more is handed over;
//  2. what is unleased is released to its home;
//  3. posts and answers are still taken and delivered, until no app request has
//     been open for 2 s (which may lie before the signal) and nothing is leased,
//     or drain_seconds less 5 are over (an open event stream counts as a request);
//     where the journal is said to be ephemeral, what is due and in no other is
//     waited for, too, and an error tells of what is left of it;
//     the end of force cuts this short;
//  4. posts get 503, event streams end; offers still unanswered are
//     recorded as held, reports are flushed, our homes hear goodbye; the loops end,
//     the journal is closed, Run returns nil.
//
// Each step of 4 has a name and a time. One that overstays is left behind and
// makes Run return an error: whoever called it must then end the process.
//
// [Proxy.Empty] runs the journal of a sidecar that is gone for good, and its apps with
// it, until nothing is left: with no app API, a mailbox that takes and hands over
// nothing, and the dispatcher as ever. What is here for others is given back when its
// home is connected, since one that is not would not hear of it; it is knocked at
// meanwhile. What another sidecar has that is gone, too, is offered elsewhere once that
// is given up for lost. Events for subscribers are not sent: only their own sidecar does.
//
// # Crashes
//
// Nothing in this package is durable (the last known good is xds's), so nothing of it is lost: a sidecar that
// is killed starts over from its journal (package journal says what that
// holds). A failed commit poisons the journal; Run then returns within a second
// with that error and flushes nothing, because what it would say may be wrong.
// A loop that ends unasked, a listener that breaks, are the same kind of end:
// the supervisor's restart is the repair. A bad edit of the config file, the peers file, the keys
// file, the people file, the keyring or the certificates is not: the last good one stays in force.
//
// # Listeners
//
// The app API, the peer listener and the admin listener are always there. A fourth,
// of health pages and metrics alone (health), is for whoever must reach those from
// elsewhere, as a node's probes and scrapes do, and no more than those. A fifth (people) is for people who
// decide and are no operators: it has their pages, behind a log-in ([pannier/proxy/pages]).
//
// # What it does not do
//
// No TLS on the app API, which listens beyond loopback only where it asks for keys, nor at the
// listener for people, which does so only behind what serves TLS.
package proxy
