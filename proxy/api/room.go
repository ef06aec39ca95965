package api

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"runtime/debug"
	"time"

	"golang.org/x/sync/semaphore"

	"pannier/inbound"
	"pannier/journal"
)

const (
	smallBody = 16 << 10
	bodyWait  = 5 * time.Second // Options.BodyWait where nothing else is said
	// leastRate is what a reader of a large answer takes a second, beyond frameTime: the
	// room of one that does not is for others.
	leastRate = 64 << 10
	// pullBytes is what the mailbox gives one pull at most, about.
	pullBytes = 4 << 20
	// listBytes is how large a list becomes, about: what does not fit is for the next one.
	listBytes = 1 << 20
)

// room is for large bodies, in bytes: requests have one, and answers another, so that who
// does not read keeps nobody from sending. A body is in memory whole until what it asks for
// is durable, or the answer is written, and some three times in all: as it came, as an
// envelope, as a record. However many clients send or ask for large ones, there are as many
// bytes of them as there is room; who comes then waits, and nothing is read meanwhile. Small
// ones pass: what apps say of work they have does not stand behind what others send.
type room struct {
	most int64
	free *semaphore.Weighted
}

func newRoom(most int64) room { return room{most, semaphore.NewWeighted(most)} }

// roomOf is how many bytes a room has: what one batch may have, and less in a process that
// is to stay within limit bytes; never less than one body.
func roomOf(limit int64, maxBody int) int64 {
	most := int64(batchBodies * maxBody)
	if limit == math.MaxInt64 {
		return most
	}
	return max(int64(maxBody), min(most, (limit-heapAtWork)/roomShare))
}

const (
	// heapAtWork is what the journal needs while many bodies of a MiB are written: its tables
	// in memory, and those it merges.
	heapAtWork = 64 << 20
	// roomShare of the rest is each room's. Measured with bodies of a MiB, eight who send,
	// eight who poll, and then 300 who do not read: 8 MiB each are too many in a group of 128.
	roomShare = 8
)

// memoryLimit is GOMEMLIMIT, or what was set for it; none is MaxInt64.
func memoryLimit() int64 { return debug.SetMemoryLimit(-1) }

// take waits for room for n bytes, in the order of arrival. One that is larger than all the
// room has it to itself.
func (m *room) take(ctx context.Context, n int, wait time.Duration) (got int64, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	got = m.share(n)
	return got, m.free.Acquire(ctx, got) == nil
}

func (m *room) share(n int) int64 { return min(int64(n), m.most) }

// tryTake is take that does not wait.
func (m *room) tryTake(n int) (got int64, ok bool) {
	got = m.share(n)
	if !m.free.TryAcquire(got) {
		return 0, false
	}
	return got, true
}

// takeAnswer waits for room for an answer with n bytes of bodies, before they are read. It
// has it until it is written.
func (a *API) takeAnswer(w http.ResponseWriter, r *http.Request, n int) error {
	if n <= smallBody {
		return nil
	}
	got, ok := a.answers.take(r.Context(), n, cmp.Or(a.opt.BodyWait, bodyWait))
	if !ok {
		return refuse(codeRateLimited, "answers of %d bytes are being read at once, as many as may be; ask for fewer large ones at a time", a.answers.most)
	}
	w.(*response).answer += got
	return nil
}

// takeAnswerOf is takeAnswer for one with all of an intent.
func (a *API) takeAnswerOf(w http.ResponseWriter, r *http.Request, id journal.ID) error {
	n, err := a.journal.BodySize(id)
	if err != nil {
		return err
	}
	return a.takeAnswer(w, r, n)
}

// takeList is takeAnswer for a list, which finds out how large it is: as soon as it is no
// longer small, it takes room for all that it may become.
func (a *API) takeList(w http.ResponseWriter, r *http.Request, d *doc) error {
	if len(d.b) <= smallBody || w.(*response).answer > 0 {
		return nil
	}
	return a.takeAnswer(w, r, listBytes)
}

// keepAnswer gives back what an answer has beyond n bytes.
func (a *API) keepAnswer(w http.ResponseWriter, n int) {
	if n <= smallBody {
		n = 0
	}
	out := w.(*response)
	if over := out.answer - int64(n); over > 0 {
		a.answers.free.Release(over)
		out.answer -= over
	}
}

// claim is a poll's to room for what it will be given, as far as can be told from what went
// before: all of a room for each would leave one intent for whoever polls beside it. It is
// made when something is about to be leased, so that who waits has none.
type claim struct {
	of  *room
	got int64
}

func (c *claim) Claim(bytes int) (ok bool) {
	c.got, ok = c.of.tryTake(min(bytes, pullBytes))
	return ok
}

// cover makes the claim one to n bytes, if there is room.
func (c *claim) cover(n int) (ok bool) {
	lacks := c.of.share(n) - c.got
	if lacks <= 0 {
		return true
	}
	more, ok := c.of.tryTake(int(lacks))
	c.got += more
	return ok
}

func (c *claim) Waive() {
	if c.got > 0 {
		c.of.free.Release(c.got)
	}
	c.got = 0
}

// pull is the mailbox's, ended early by a drain: then it gets nothing. What it returns has
// room. Where others have that, it gets one intent, and gives it back if it is large.
func (a *API) pull(ctx context.Context, w http.ResponseWriter, r *http.Request, p inbound.PullRequest) ([]journal.Handed, error) {
	ctx, cancel := a.untilDrain(ctx)
	defer cancel()
	out, mine := w.(*response), claim{of: &a.answers}
	p.Room, p.Bytes = &mine, int(min(pullBytes, a.answers.most))
	got, err := a.mailbox.Pull(ctx, p)
	n := payloads(got)
	if n > smallBody && !mine.cover(n) {
		mine.Waive()
		return a.pullLater(ctx, w, r, p, got)
	}
	out.answer += mine.got
	a.keepAnswer(w, n)
	return got, err
}

// pullLater gives back what was handed over and has no room, and pulls anew when there is.
func (a *API) pullLater(ctx context.Context, w http.ResponseWriter, r *http.Request, p inbound.PullRequest, got []journal.Handed) ([]journal.Handed, error) {
	if err := a.mailbox.TakeBack(context.WithoutCancel(ctx), got); err != nil {
		return nil, err
	}
	if err := a.takeAnswer(w, r, pullBytes); err != nil {
		return nil, err
	}
	p.Room, p.Wait = nil, 0
	got, err := a.mailbox.Pull(ctx, p)
	a.keepAnswer(w, payloads(got))
	return got, err
}

// payloads is how many bytes the payloads of hand-overs have.
func payloads(list []journal.Handed) (n int) {
	for i := range list {
		n += len(list[i].Envelope.GetPayload())
	}
	return n
}
