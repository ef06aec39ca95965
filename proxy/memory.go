package proxy

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// After a burst the store gives its builders' buffers back one every two
// seconds, but without traffic nothing makes Go collect them: measured, 315 MiB
// after 100,000 accepts stay for minutes, and 28 MiB are left when it is made to.
const (
	idleTick  = 2 * time.Second
	idleTicks = 12 // of them in one rest: by then all buffers are back
)

// gcPercent is GOGC unless that is set. Most of the heap is memtables and tables that
// are being built: bytes in which the collector has nothing to follow, so that to
// collect twice as often costs less than to touch fresh pages instead.
const gcPercent = 50

// heapShare of what the process may have is what Go collects early to stay within, unless
// GOMEMLIMIT says another. The rest is for what Go does not count: mapped tables, the pages
// of files that are being written, and the program. A burst of accepts takes several times
// the 128 MiB of a sidecar in a pod if it is let.
const heapShare = 0.8

// holdMemory sets how far the heap may grow between two collections, and below which
// limit, usually that of the container.
func holdMemory(limit memlimit.Provider) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	// Where no limit can be found there is none to stay within.
	_, _ = memlimit.Set(memlimit.WithRatio(heapShare), memlimit.WithProvider(limit))
}

// restMemory returns memory to the system whenever the journal has had nothing
// to write for a while. It costs a few collections per pause and nothing under
// load.
func (r *run) restMemory(ctx context.Context) error {
	worked := func() uint64 { return r.journal.Stats().Seq }
	tick := time.NewTicker(idleTick)
	defer tick.Stop()
	last, idle := worked(), 0 // a start may have read much
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if now := worked(); now != last {
			last, idle = now, 0
			continue
		}
		if idle++; idle <= idleTicks && idle%2 == 0 {
			debug.FreeOSMemory()
		}
	}
}
