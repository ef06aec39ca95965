// Package pages serves people: what they are asked, and their decisions, in a browser.
//
//	GET  /                     what needs attention, and the figures beside it; for operators
//	GET  /dead-letters         those without a successor, by agent and cause, and one by one
//	GET  /dead-letters/redrive what a redrive would do; its form does it
//	GET  /dead-letters/purge   what a purge would remove; its form does, once the number is typed
//	POST /dead-letters/redrive, /dead-letters/purge   that, and back with a sentence of what was done
//	GET  /inbox                what is to be decided, newest first
//	GET  /tasks/{id}           one task: what it is about, its form, its outcomes as buttons
//	POST /tasks/{id}           a decision
//	POST /tasks/{id}/comment   a comment in its thread
//	POST /tasks/{id}/delegate  the task for the people of another agent, too
//	GET  /tasks/{id}/payload   the payload as a file
//	GET  /intents              what is homed or held here, by status and receiver
//	GET  /intents/{id}         one: why it stands where it does, where its time went, its events
//	GET  /assets/…             style sheet, icon
//
// Operators see all of it, at the admin listener. Other people have a listener of their own
// ([People]), without the pages of intents, and see and decide only what the agents are asked
// whom they act for. There:
//
//	GET  /login                the log-in, which leads back to a page of ours
//	POST /login                a token; ten wrong ones from one address, and it waits
//	POST /logout               the end of the session, wherever its cookie may be
//
// A page is a client of the routes that apps and the command line use, in the same
// process ([pannier/proxy/api.API.Inside]): so what it lists and what it decides is
// theirs, and a decision has one way into the journal.
//
//	browser ──▶ guard ──▶ visitor ──▶ view ──▶ ask ──▶ /v1/me/tasks, /v1/intents/{id}…  ──▶ journal
//	            CSP,       session,    HTML      │     as the visitor, without a key
//	            host,      proxy's               └▶ /v1/admin/status, peers, dead-letters…
//	            origin     header,                     of the admin listener, for operators
//	                       form token
//
// What holds:
//
//   - GET changes nothing: a link that a mail scanner follows decides nothing. A POST is a
//     form of ours, by its token, from our origin, or nothing is done. A form that is sent
//     twice is done once: it has an idempotency key.
//   - The overview asks for nothing that is read from a disk, so that it is there while one
//     hangs ([pannier/proxy/checkup.Glance]).
//   - What was done to dead letters is in the journal, and in the log with who asked and
//     from where. A page says that it was done by a sentence that is signed in its address.
//   - Everything works without a script, and no page has one.
//   - What comes from outside is text: escaped by the templates, with controls and what
//     turns the direction of writing shown as codes, and cut where it is long.
//   - An approval that another intent waits for shows that one's payload, and who else is asked.
//   - What a form refuses comes back with all that was typed, beside the fields it is about.
//
// Templates are *.templ, turned into Go by `go generate` and committed: html/template
// looks methods up by name, for which the linker keeps every method of the sidecar.
//
// A crash loses no decision that was shown as made: the page says so after the journal has
// it. Tokens of forms are of one process: after a restart a page that was open is to be
// opened again.
//
// Sessions are in memory alone, by the hash of what their cookie has: a log-out is for good,
// no secret is on the disk or in a backup, and after a restart everybody logs in again, and is
// led back. A session ends with the entry of its person, or a change of who that is, and after
// 12 h; whom somebody acts for is looked up at each request. Cookies are SameSite=Lax: a link
// in a mail opens the page, and changes nothing; a log-in form of another site has no cookie.
// What was done is in the log: who, when, from where; who decided is in the events of the
// intent, too.
//
// Who somebody is may also be said by a proxy that logs people in, in a header: only where
// that is configured, from its addresses alone, and of who is on the roll. A proxy may ask by
// a host of its own, unless it is on loopback, where a browser could be misled to ask, too.
//
// There is no live refresh, no TLS (the listener is on loopback, or behind what serves it),
// and no log-in for operators: who reaches the admin listener may decide everything, and
// what is decided there is on record as decided by "operator". Whoever is to be on record
// by name decides on the listener of the people.
package pages
