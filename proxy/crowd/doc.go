// Package crowd holds connections to a share of the files that a process may open:
// whoever may connect must not be able to keep the journal, or the files of an
// identity, from being opened, nor the app, the operators and other sidecars from
// being let in.
//
//	RLIMIT_NOFILE ─▶ shares ─▶ Room ─┬▶ Listen ─▶ accepted connections ─▶ Hold, Release, Admit
//	files left ────▶ Guard ──────┘   └▶ Dial
//
// # What holds
//
//   - No more connections are open than the room has places. One more takes the
//     place of the one that has been idle for longest, where there is one: idle is
//     what has proven nothing yet (Admit), or carries no request (Hold). So who
//     connects and says nothing, or is no one that is known, keeps nobody out who
//     is served while the places last: for that it must connect as often as there
//     are places in the time of one handshake or one request.
//   - Where none is idle the new one is closed at once: whoever is turned away hears
//     of it, while one that is left waiting would look like a process that hangs.
//   - A connection that leaves too few files to the whole process, whatever has taken
//     them, is treated as if its room were full, and one that is dialed is given up before it
//     connects. Where not even that one could be opened the guard hears of it, and gives
//     some up.
//   - A connection that is made is served like any other until then.
//
// # What it does not do
//
// It knows no addresses: behind one may be many. Where nobody proves who they are
// (plain text between sidecars) and at the app's listener nobody is idle.
package crowd
