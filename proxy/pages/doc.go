// Package pages serves people: what they are asked, and their decisions, in a browser.
//
//	GET  /inbox                what is to be decided, newest first
//	GET  /tasks/{id}           one task: what it is about, its form, its outcomes as buttons
//	POST /tasks/{id}           a decision
//	GET  /tasks/{id}/payload   the payload as a file
//	GET  /intents              what is homed or held here, by status and receiver
//	GET  /intents/{id}         one: why it stands where it does, where its time went, its events
//	GET  /assets/…             style sheet, icon
//
// A page is a client of the routes that apps and the command line use, in the same
// process ([pannier/proxy/api.API.Inside]): so what it lists and what it decides is
// theirs, and a decision has one way into the journal.
//
//	browser ──▶ guard ──▶ view ──▶ ask ──▶ /v1/me/tasks, /v1/intents/{id}…  ──▶ journal
//	            CSP,       HTML            as the visitor, without a key
//	            origin,
//	            token
//
// What holds:
//
//   - GET changes nothing: a link that a mail scanner follows decides nothing. A POST is a
//     form of ours, by its token, from our origin, or nothing is done. A form that is sent
//     twice is done once: it has an idempotency key.
//   - Everything works without a script, and no page has one.
//   - What comes from outside is text: escaped by the templates, with controls and what
//     turns the direction of writing shown as codes, and cut where it is long.
//   - What a form refuses comes back with all that was typed, beside the fields it is about.
//
// Templates are *.templ, turned into Go by `go generate` and committed: html/template
// looks methods up by name, for which the linker keeps every method of the sidecar.
//
// A crash loses no decision that was shown as made: the page says so after the journal has
// it. Tokens of forms are of one process: after a restart a page that was open is to be
// opened again.
//
// There is no live refresh, and no one but operators here: who reaches the listener may
// decide everything.
package pages
