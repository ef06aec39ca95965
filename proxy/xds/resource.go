package xds

import (
	"time"

	"google.golang.org/protobuf/proto"
)

// resource is one name that is subscribed to. Guarded by the client's mu.
type resource struct {
	kind  int
	name  string
	users map[*agent]struct{}

	value    proto.Message // in force; nil: none
	version  string        // of value, as the server called it
	received time.Time
	gone     time.Time // the server deleted it; value is used on until the grace is over

	absent  bool      // a server says, or shows by its silence, that it has none
	unheard bool      // value is the file's, and no server has spoken since
	asked   time.Time // when the present stream asked; zero: it did not

	reason   string    // why its newest version was refused, or was not to be had; empty: it was taken
	theirs   bool      // it is the server's word, in place of a version
	refused  string    // that version
	refuseAt time.Time // when
}

// settled reports whether the server has said all it will: it may be used as it is.
func (r *resource) settled() bool { return r != nil && (r.value != nil || r.absent) }

// take puts a value in force.
func (r *resource) take(m proto.Message, version string, now time.Time) {
	r.value, r.version, r.received = m, version, now
	r.gone, r.absent, r.unheard = time.Time{}, false, false
	r.reason, r.refused = "", ""
}

// refuse keeps the value that is in force, and the reason why the new one is not.
func (r *resource) refuse(reason, version string, now time.Time) {
	r.gone = time.Time{} // what is refused was not deleted
	r.reason, r.refused, r.refuseAt, r.theirs = short(reason), short(version), now, false
}

// fail keeps it too: the server has an error to tell where a version would be.
func (r *resource) fail(reason string, now time.Time) {
	r.refuse("the control plane: "+reason, "", now)
	r.theirs = true
}

// remove notes that the server has it no longer, and reports whether that is news.
func (r *resource) remove(now time.Time) bool {
	r.reason, r.refused = "", ""
	switch {
	case r.value == nil:
		news := !r.absent
		r.absent = true
		return news
	case r.gone.IsZero():
		r.gone = now
		return true
	}
	return false
}

// drop ends the grace.
func (r *resource) drop() {
	r.value, r.version, r.gone = nil, "", time.Time{}
	r.absent, r.unheard = true, false
}

// overdue is when its absence will be believed, a while after it was asked for;
// zero: never.
//
// The layers of Runtime are asked for without the versions that are known: one that
// the server still has comes on every stream, and one that does not has gone while
// nobody listened. Else a switch would stay on for ever.
func (r *resource) overdue(after time.Duration) time.Time {
	unconfirmed := r.kind == runtime && r.gone.IsZero() && r.received.Before(r.asked)
	if r.value != nil && !unconfirmed || r.absent || r.reason != "" || r.asked.IsZero() {
		return time.Time{}
	}
	return r.asked.Add(after)
}
