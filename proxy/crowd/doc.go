// Package crowd holds connections to a share of the files that a process may open:
// whoever may connect must not be able to keep the journal, or the files of an
// identity, from being opened, nor the app, the operators and other sidecars from
// being let in.
//
//	RLIMIT_NOFILE ─▶ shares ─▶ Room ─┬▶ Listen ─▶ accepted connections ─▶ Serve, Admit
//	files left ────▶ Guard ──────┘   └▶ Dial                             Use ─▶ metrics, checks
//
// # What holds
//
//   - No more connections are open than the room has places. One more takes the
//     place of the one that has been idle for longest, where there is one: idle is
//     what has proven nothing yet (Admit), or carries no request (Serve). So who
//     connects and says nothing, or is no one that is known, keeps nobody out who
//     is served while the places last: for that it must connect as often as there
//     are places in the time of one handshake or one request.
//   - Where none is idle the new one is closed at once: whoever is turned away hears
//     of it, while one that is left waiting would look like a process that hangs. It is
//     counted, too (Use): who was turned away has no answer to show to anybody.
//   - A request that has begun keeps its connection until the answer is sent, and what
//     is read from one that has made way is not begun: a client whose idle connection is closed
//     under a request may send it once more, and nothing is done twice.
//   - A connection that leaves too few files to the whole process, whatever has taken
//     them, is treated as if its room were full, and one that is dialed is given up before it
//     connects. Where not even that one could be opened the guard hears of it, and gives
//     some up.
//   - A connection that is made is served like any other until then.
//
// # What it does not do
//
// It knows no addresses: behind one may be many. Where nobody proves who they are
// (plain text between sidecars) nobody is idle.
package crowd
