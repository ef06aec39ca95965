package journal

import (
	"context"
	"sync"
)

// priority orders what competes for the next batch: what finishes work comes
// before what takes on more.
type priority int

const (
	first  priority = iota // reports, settles, leases, endings
	second                 // held
	third                  // accepts
	last                   // what the history lets go
	priorities
)

// op is one operation: run decides and writes, all or nothing; done is told
// when it is durable, or why it is not. Both run on the committer.
type op struct {
	run    func(*tx) error
	done   func(error)
	before string // failpoint before and after the commit
	after  string
	err    error
	about  ID   // the intent that is set aside where this cannot be done; zero: of none
	asked  bool // somebody asks for it, and hears that it cannot
}

type queues struct {
	ops  [priorities]chan *op
	lazy chan *op
}

func newQueues() queues {
	var q queues
	for i := range q.ops {
		q.ops[i] = make(chan *op, queueLength)
	}
	q.lazy = make(chan *op, lazyLimit)
	return q
}

// submit queues an operation. It blocks while the queue is full: that is the
// journal's back-pressure. done is always called, once.
func (j *Journal) submit(p priority, o *op) {
	select {
	case <-j.stopped:
		o.done(j.stopError())
	case j.queues.ops[p] <- o:
		// The committer may have ended between the two: it drains the queues
		// last thing, and so do we, so that no operation is left unanswered.
		select {
		case <-j.stopped:
			j.refuseQueued()
		default:
		}
	}
}

// do runs the operations and waits until all of them are durable or refused.
// It ignores ctx once they are queued: an operation that may have happened
// must not be reported as one that did not.
func (j *Journal) do(ctx context.Context, p priority, ops ...*op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	finished := make(chan error, 1)
	j.submitAll(p, ops, func(err error) { finished <- err })
	return <-finished
}

// doApart is do, but for what has cost one intent alone: that is set aside when it returns,
// and the rest is done.
func (j *Journal) doApart(ctx context.Context, p priority, ops ...*op) error {
	if err := j.do(ctx, p, ops...); !isFault(err) {
		return err
	}
	for _, o := range ops {
		if o.err != nil && !isFault(o.err) {
			return o.err
		}
	}
	return j.running()
}

// submitAll queues operations without waiting for them. done runs once, when
// the last of them is durable or refused, with the first error.
func (j *Journal) submitAll(p priority, ops []*op, done func(error)) {
	var mu sync.Mutex
	var failed error
	left := len(ops)
	if left == 0 {
		done(nil)
		return
	}
	for _, o := range ops {
		o.done = func(err error) {
			mu.Lock()
			if err != nil && failed == nil {
				failed = err
			}
			left--
			last := left == 0
			mu.Unlock()
			if last {
				done(failed)
			}
		}
		j.submit(p, o)
	}
}

// queued appends what waits now, most urgent first, up to a batch.
func (j *Journal) queued(batch []*op) []*op {
	for p := range j.queues.ops {
		most := batchEntries / 2
		if priority(p) == last {
			most = len(batch) + historySlice // always: else a journal that is never idle only grows
		}
		for len(batch) < most {
			select {
			case o := <-j.queues.ops[p]:
				batch = append(batch, o)
				continue
			default:
			}
			break
		}
	}
	return batch
}

// rideAlong queues an operation nothing waits for; when too many are queued
// already it asks for a batch like any other.
func (j *Journal) rideAlong(o *op) {
	select {
	case j.queues.lazy <- o:
		select {
		case <-j.stopped:
			j.refuseQueued()
		default:
		}
	default:
		j.submit(first, o)
	}
}

// refuseQueued answers whatever is still queued after the committer has ended.
func (j *Journal) refuseQueued() {
	for {
		batch := j.queued(nil)
		if len(batch) == 0 {
			break
		}
		for _, o := range batch {
			o.done(j.stopError())
		}
	}
	for {
		select {
		case o := <-j.queues.lazy:
			o.done(j.stopError())
		default:
			return
		}
	}
}
