// Package journaltest opens journals for tests, those of packages above the journal too.
package journaltest

import (
	"cmp"
	"syscall"
	"time"

	"pannier/journal"
	"pannier/journal/internal/bubble"
)

// Open is journal.Open. In a bubble of fake time (testing/synctest) days pass at once, and
// what looks after the store in them is real work: the store asks itself forty times a
// second whether to compact, and the scrub reads all of it. So there it compacts only when
// it is told to, and what is not said otherwise is scrubbed once a day.
//
// No process is begun meanwhile: a child has all that its parent has open until it is
// another program, and with that the lock of a store which is to be opened again.
func Open(o journal.Options) (*journal.Journal, error) {
	if inBubble() {
		o.Store = bubble.Still()
		o.ScrubEvery = cmp.Or(o.ScrubEvery, 24*time.Hour)
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return journal.Open(o)
}

// inBubble tells a bubble by its clock, which begins with the year 2000.
func inBubble() bool { return time.Now().Year() < 2020 }
