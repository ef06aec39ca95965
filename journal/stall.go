package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// A disk may take a write and never answer: a volume that is gone, a controller that
// resets. Nobody can take back a sync that hangs, so all that can be done is to say so,
// and to end: whoever waits for it learns that the outcome is unknown, and a supervisor
// may start the process where the disk works.
//
// What is counted is how often a batch was seen under way, a second apart, and not how
// long: neither a clock that was put forward nor a process that was stopped for an hour
// is a disk that hangs.
//
// It sees nothing of a write to a mapped page that waits in the kernel, as in a file system that
// was frozen in the midst of a batch (before one, see awaitThaw): Go takes it for code that
// runs. The next thing to stop the world (a collection of garbage) waits for that, and all with
// it, this loop, too; and the process ends by no signal before the thaw, so no other process
// could do more than say so.
const (
	stallLook = time.Second
	stallSlow = 5  // looks after which the sidecar is not ready
	stallHung = 30 // after which the journal fails
)

var errHung = errors.New("a batch has been on its way to the disk for half a minute: the disk hangs")

// stallLoop looks whether batches get done. It touches no disk.
func (j *Journal) stallLoop(ctx context.Context) {
	tick := time.NewTicker(stallLook)
	defer tick.Stop()
	var last uint64
	for looks := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-j.stopped:
			return
		case <-tick.C:
		}
		now := j.figures.underWay.Load()
		if now == 0 || now != last {
			last, looks = now, 0
		} else {
			looks++
		}
		j.figures.stalled.Store(looks)
		if looks == stallHung {
			j.warn(fmt.Sprintf("all goroutines, since %v\n%s", errHung, allStacks()))
			j.fail(errHung)
			return
		}
	}
}

// stalled is how long a batch has been under way, where that is too long.
func (j *Journal) stalled() time.Duration {
	if looks := j.figures.stalled.Load(); looks >= stallSlow {
		return time.Duration(looks) * stallLook
	}
	return 0
}

// allStacks are those of all goroutines, as far as they fit a line of a log.
func allStacks() []byte {
	stacks := make([]byte, 256<<10)
	return stacks[:runtime.Stack(stacks, true)]
}
