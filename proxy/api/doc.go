// Package api is what the app talks to: plain HTTP on localhost, and the one
// place where our errors become problem documents.
//
//	        ┌ guard ──────────┐  ┌ route ─┐  ┌ key ────┐  ┌ read ─────────────┐
//	app ───▶│ Host, Origin,   │─▶│ mux, or│─▶│ Caller, │─▶│ query, headers,   │──▶ journal     accept, answer, read, watch
//	        │ request id,     │  │ /v1/   │  │ owner,  │  │ strict JSON: all  │──▶ Mailbox     pull, settle
//	        │ panic → 500     │  │ agents │  │ or 401  │  │ faults in one 4xx │──▶ Dispatcher  why
//	        └─────────────────┘  └────────┘  └─────────┘  └───────────────────┘
//	app ◀── JSON │ text/event-stream │ application/problem+json ◀── handler's (answer | error)
//
// Routes:
//
//	GET  /health                          alive
//	GET  /v1/health                       alive
//	GET  /healthz                         alive
//	GET  /readyz                          takes intents
//	GET  /openapi.json                    openapi.yaml: what is written below, in full
//	GET  /v1/capabilities                 what clients of AXP may ask for
//	POST /v1/schemas                      hold payloads of a type to a schema
//	GET  /v1/schemas/{type}               the schema of a type
//	POST /v1/webhooks/subscriptions       have events sent to a URL
//	GET  /v1/webhooks/subscriptions       who is sent which events
//	DELETE /v1/webhooks/subscriptions/{id}   end one
//	POST /v1/webhooks/events              publish an event
//	POST /v1/webhooks/events/{id}/replay  send it once more
//	POST /v1/schedules                    have an intent made again and again
//	GET  /v1/schedules                    those there are
//	GET  /v1/schedules/{id}               one, its last runs and the times to come
//	DELETE /v1/schedules/{id}             end it
//	POST /v1/schedules/{id}/pause         it makes nothing more
//	POST /v1/schedules/{id}/resume        from its next time on, it does
//	POST /v1/scenarios/validate           what is wrong with a scenario
//	POST /v1/scenarios/apply              accept an intent with a workflow, and begin it
//	POST /v1/intents                      accept one intent, or CloudEvents
//	POST /v1/intents:batch                accept up to 1,000, one result each
//	POST /v1/intents/bulk-cancel          end many that are old
//	GET  /v1/intents                      what is homed or held here, newest first
//	GET  /v1/intents/{id}                 one intent, or with wait_for=terminal its end
//	GET  /v1/intents/{id}/events          its event log
//	GET  /v1/intents/{id}/events/stream   the log as it grows
//	GET  /v1/intents/{id}/why             what it waits for
//	POST /v1/intents/{id}/resolve         end it
//	POST /v1/intents/{id}/resume          go on, the agent's result, or a person's decision
//	POST /v1/intents/{id}/controls        change its options while it is open
//	POST /v1/intents/{id}/policy          the same, and grants
//	POST /v1/intents/{id}/ack             done, under its lease
//	POST /v1/intents/{id}/nack            failed attempt, or dead letter
//	POST /v1/intents/{id}/extend          still working
//	GET  /v1/me/tasks                     what people are asked here, and have not decided
//	GET  /v1/inbox                        threads of an owner, the last that was changed first
//	GET  /v1/inbox/changes                threads in the order of their changes
//	GET  /v1/inbox/{id}                   a thread
//	POST /v1/inbox/{id}/reply             say something in it
//	POST /v1/inbox/{id}/delegate          put it into another inbox, too
//	POST /v1/inbox/{id}/approve           decide it in favour
//	POST /v1/inbox/{id}/reject            or against
//	POST /v1/inbox/{id}/messages/delete   take messages off it
//	POST /v1/inbox/{id}/read              it was read
//	POST /v1/approvals/{id}/decision      the same as approve and reject
//	GET  /v1/deliveries                   intents as AXP's deliveries; status=dead_lettered
//	GET  /v1/deliveries/{id}              one of them
//	POST /v1/deliveries/{id}/replay       a successor for a dead letter
//	POST /v1/deliveries                   404: to send is POST /v1/intents
//	POST /v1/deliveries/reconcile         404: what is due is delivered unasked
//	GET  /v1/agents/{agent}/intents       take intents under leases (poll)
//	GET  /v1/agents/{agent}/intents/stream     the log of hand-overs as it grows (stream)
//	POST /v1/agents/{agent}/intents:settle     many ack, nack, extend
//	POST /v1/agents/{agent}/intents/{type}     accept one intent: the body is the payload
//	GET  /v1/agents                       who is served or has a service account here
//	GET  /v1/agents/{agent}               one of them
//	POST /v1/mesh/heartbeat               the caller's agent is alive
//	GET  /v1/mesh/agents                  health of the caller's agents
//	GET  /v1/mesh/agents/{id}             of one of them
//	POST /v1/mesh/agents/{id}/kill        nothing goes to it or comes from it
//	POST /v1/mesh/agents/{id}/resume      until this
//	GET  /v1/mesh/events                  what was done to agents lately
//	GET  /v1/service-accounts             those of the caller's agents
//	POST /v1/service-accounts             make the one of an agent
//	GET  /v1/service-accounts/{id}        one of them
//	DELETE /v1/service-accounts/{id}      end it and its keys
//	POST /v1/service-accounts/{id}/keys                a new key; its token is shown once
//	POST /v1/service-accounts/{id}/keys/{key}/revoke   end one
//
// A route is in three places, and tests compare them: this table, the one in
// route.go, and openapi.yaml. Package apitest holds every request and answer of the
// tests to the last.
//
// An {agent} has any number of segments, raw or percent-encoded, with or
// without agent://; see [Address].
//
// Keys: with Options.Identify every route but health wants one, and a key
// speaks for the agents of its [Caller]:
//
//   - An intent comes from an agent of the key: the one named, else the first.
//     Another one is 403 policy_denied.
//   - Polling, streaming and settling are for agents of the key: else 403.
//   - An intent that is neither from nor to an agent of the key is 404 in every
//     call on its id, as if there were none, and is in no list. Its sender and its
//     receiver may both read, resume and resolve it; its sender may not ack, nack or
//     extend (403), nor decide what it asks a person, but it may cancel that. Whom
//     it was delegated to may decide it.
//   - A thread is seen by whose inbox it is in; to everybody else it is 404.
//   - The scope of an idempotency key is the first agent of the caller's key, so a
//     key that takes the place of another keeps it.
//   - owner_agent and x-owner-agent must name an agent of the key, in full or by its
//     last segment: else 403.
//   - A wait or stream ends when its key no longer allows it, or ends by itself.
//   - The keys of service accounts are accepted beside those of the file, and only
//     where there is one: without it no key is looked at. They are for the account's
//     agent alone. A key makes accounts, and keys of them, for its own agents; an
//     account or an agent's health of somebody else's is 404 to it, or not listed.
//     The list of addresses, GET /v1/agents, is the same for every key: whoever may
//     send may know to whom.
//   - A schema is the owner's whose key registered it first: who may not act as that
//     one cannot change it, and is held to it all the same. Subscriptions and events
//     have an owner too; an event of somebody else's is 404.
//
// A killed agent sends nothing here (403) and is handed nothing; what is addressed
// to it is accepted and waits, and what its app has already may be settled. Its dead
// letters are not redriven: a successor would be sent in its name. A kill
// is of this sidecar, and survives a restart. Heartbeats do not: after a start
// health is unknown until the next.
//
// What holds:
//
//   - A 2xx to a POST is written after the journal has it on disk, never
//     before. A handler that returns an error has begun no answer. A refusal is
//     one problem document and changes nothing, but for two: after journal_failed
//     or interrupted the outcome is unknown, and an answer given at the holder
//     stays journaled there when home had another before it (409).
//   - Payloads and results are the bytes of the request's value: they are
//     sliced out of the body and copied into answers, never decoded.
//   - What is not built and would change what happens is refused by name (422
//     not_available), not ignored. Fields AXP does not know are ignored, but
//     inside "delivery" and in bodies that are our own.
//   - What a person is asked (human_task) waits at its home from accept on: it is offered
//     to no app, is shown to those who are asked at the sidecar that serves them, if that is
//     another, as soon as it is known, and can be decided at either. It has no deadline unless one was given, and is ended by a task_result
//     that fits it, or by resolve. The outcomes rejected, denied, declined, failed and
//     changes_requested cancel it, since whoever waits is not to go on; a form is not
//     asked of them. Two decisions at once: the first that is journaled wins. Its person
//     is reminded by events in its log, and it is escalated by one; reminders that came
//     due while the sidecar was down are one. Whoever did not decide before it was
//     escalated still may.
//   - A thread is a view of an intent that is accepted or held here, or of the end of one
//     that was told to somebody here; its id is the intent's. Decided is what its first
//     decision says: the same again is 200, another is 409 and names the first. On
//     what has ended by other means, a decision is kept and changes nothing. A timeline has
//     at most 64 KiB and 200 entries of people; what Pannier adds is never refused.
//   - Gates are such tasks: the intent they are asked about stays SUBMITTED and is
//     offered when the last has passed. Of any_of a refusal counts when nobody is left
//     who could approve. A refusal cancels the intent with its words; one that expires
//     ends it TIMED_OUT. Whatever ends the intent ends what is asked about it. A redrive
//     asks anew where it had not passed, or with another payload or receiver. A decision and
//     the turn it opens are one commit, so the tasks of all gates are at most 64 KiB
//     together, and a decision of one 256 KiB.
//   - A scenario is one intent that is offered to nobody and waits for one step at a time.
//     A step is an intent of its own, to an agent or a person, or a time that passes; its
//     end and what it leads to are one commit, and so are the end of the intent and that
//     of its step. Where no step names on_success they are done as they are listed, but for
//     those that an on_failure names; no way leads back. A person's refusal fails a step,
//     and so does its deadline, which counts over all retries; only what an agent has
//     failed is tried again. A step that tells a target of the configuration is done when
//     the message is accepted: what does not come through is a dead letter and fails
//     nothing; a target that is not configured is refused. What it says of agents changes nothing about how they receive,
//     which is said where they are served: delivery_mode http and callback_url are warned of.
//     With create_if_missing a service account is made for one, if the key speaks for it;
//     keys of it are made as for any other. A role of humans is whose inbox is asked:
//     the contact, or the role by its name. A redriven step goes on alone: its scenario has
//     gone another way by then.
//   - Schemas, of payloads and of forms, and what is held to them come from whoever may
//     send. A schema is bounded where it comes in (what its references unfold to, its
//     patterns, its size), the work of holding a value to it by a count, which grows with
//     the value's bytes: beyond it the value is refused, whatever the schema would say.
//   - A payload that does not fit the schema of its type is not accepted, nor one
//     edited at a redrive, wherever that is asked for: it is held to the schemas of
//     its home. What was accepted before is not looked at again, nor a repeat of it
//     under its key. Schemas refer to nothing outside of themselves: nothing is ever
//     fetched for one. A number of more than 1,000 digits, written out, fits none and
//     is in none.
//   - Whoever subscribes to the events of an owner's inbox has it kept from then on. One
//     who names no owner hears of the threads that are kept in any case, and of those
//     inboxes that are.
//   - An event and its deliveries are one commit. Each delivery is an intent to an
//     address that no app can name; the secret of a subscription is in no answer.
//   - A schedule has the body of one POST /v1/intents, held to its schema, to what the key
//     may send and to the rules of the sidecar when it is made, and not again at each of
//     its times. Its intents are due by a cron expression in a time zone (package
//     timetable says what clocks that are put forward or back do), or every so many
//     seconds. Times missed while the sidecar was down are one intent unless misfire says
//     skip or all (a hundred at most); one is made whether or not the one before has
//     ended unless overlap says skip. What was missed while it was paused is not made.
//   - With a Tracer an intent is accepted with the context of its create span; without
//     one, with the context it came with. A request never waits for a span.
//   - X-Trace-Id is a name that an app gives its trace: it comes back on the answer and
//     is kept with the intent (client_trace_id), where it is visible ASCII of 255
//     bytes at most, and is no trace context: SDKs make up a UUID for each call. The
//     list's trace_id finds intents by it, or by the trace of their creation; there is
//     no index of it, so a page reads no more intents than it would without.
//   - An event that begins a delay has its code and its end (delay, next_try_at), one
//     that a delay went before has that (delayed): codes are those of why.
//   - A reader of a log watches first and reads then: no event is missed, and
//     each is shown once, in order.
//   - Bodies, depth, members, items, pages and waits have limits. The number
//     of connections is the listener's.
//   - A request whose body comes in chunks is the last of its connection.
//   - What is no request reaches nothing here: a broken first line or header, one too
//     large, an unknown transfer coding or expectation. net/http refuses it in a word of
//     text, with no X-Request-Id, and closes the connection. To put that into our form
//     would take a listener that rewrites what is on its way to the wire, by its text;
//     who sends such bytes is no client that reads problem documents.
//
// A crash here loses nothing that was answered: the app that has no answer
// repeats its request, under its Idempotency-Key if it must not be doubled.
// Keys act on accepting, resolving, resuming, controls, policy, replaying and
// bulk-cancel, whose repeat is about the same intents, also where a crash cut the first
// call short. A repeated ack or nack is known by its lease; a repeated extend extends
// again. An
// agent has one service account, so a repeat makes no second; a new key that is
// asked for again under its Idempotency-Key is the same key with another token. A
// kill, a revocation and a deletion are the same when repeated.
//
// The package starts nothing and keeps no state but its counters and heartbeats; it dials no
// peer: what a holder knows it asks through the Dispatcher, and home's events
// and a change of its options through AskHome.
package api
