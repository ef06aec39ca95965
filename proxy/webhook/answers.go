package webhook

import (
	"context"
	"errors"
	"time"

	"pannier/journal"
	"pannier/proxy/trace"
)

// answersPerRequest bounds the answers that are not journaled yet, for each request that
// may be under way: so many more than that a kill has sent again.
const answersPerRequest = 4

// answers takes what came of pushes to the journal, as many at once as have come since
// the last commit. A request is over when its app has answered: were it over only when
// that is on disk, at most HTTPConcurrency answers would share a commit, and the app
// would get no more a second than that many for each commit.
type answers struct {
	p    *pump
	come chan answer
	over chan struct{} // closed when all are journaled
}

// answer is what came of one push, when, and the push's span, which ends once the journal
// says whether it is sent again.
type answer struct {
	journal.Pushed
	span trace.Pushing
	at   time.Time
}

func newAnswers(p *pump) *answers {
	return &answers{p: p, come: make(chan answer, answersPerRequest*p.o.HTTPConcurrency), over: make(chan struct{})}
}

// add hands an answer over. It waits while there are many: that is the disk's
// back-pressure on the app's requests.
func (a *answers) add(one answer) { a.come <- one }

// run journals answers until finish. The app has answered: that is journaled also while
// we stop.
//
// If we crash before an answer is durable, its intent is sent again, marked as
// redelivered.
func (a *answers) run(ctx context.Context) {
	defer close(a.over)
	for one := range a.come {
		list := []answer{one}
		for waiting := len(a.come); waiting > 0; waiting-- { // only we take
			list = append(list, <-a.come)
		}
		a.journal(context.WithoutCancel(ctx), list)
	}
}

// finish returns when all that was added is journaled. Nothing may be added any more.
func (a *answers) finish() {
	close(a.come)
	<-a.over
}

func (a *answers) journal(ctx context.Context, list []answer) {
	pushed := make([]journal.Pushed, len(list))
	for i, one := range list {
		pushed[i] = one.Pushed
	}
	out, failed := a.p.push.Answer(ctx, pushed...)
	for i, one := range list {
		err := failed
		if err == nil {
			err = out[i].Err
		}
		one.span.End(one.Came, one.at, spanCodes[one.Came], err == nil && out[i].Again)
		var ended *journal.EndedError
		if err != nil && !errors.As(err, &ended) && !errors.Is(err, journal.ErrLeaseLost) && !errors.Is(err, journal.ErrNotFound) {
			a.p.log.Error("journal the answer of an app", "agent", a.p.agent, "intent_id", one.ID.String(), "err", err)
		}
	}
}
