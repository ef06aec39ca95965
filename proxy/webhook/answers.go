package webhook

import (
	"context"
	"errors"

	"pannier/journal"
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
	come chan journal.Pushed
	over chan struct{} // closed when all are journaled
}

func newAnswers(p *pump) *answers {
	return &answers{p: p, come: make(chan journal.Pushed, answersPerRequest*p.o.HTTPConcurrency), over: make(chan struct{})}
}

// add hands an answer over. It waits while there are many: that is the disk's
// back-pressure on the app's requests.
func (a *answers) add(one journal.Pushed) { a.come <- one }

// run journals answers until finish. The app has answered: that is journaled also while
// we stop.
//
// If we crash before an answer is durable, its intent is sent again, marked as
// redelivered.
func (a *answers) run(ctx context.Context) {
	defer close(a.over)
	for one := range a.come {
		list := []journal.Pushed{one}
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

func (a *answers) journal(ctx context.Context, list []journal.Pushed) {
	out, failed := a.p.push.Answer(ctx, list...)
	for i, one := range list {
		err := failed
		if err == nil {
			err = out[i].Err
		}
		var ended *journal.EndedError
		if err != nil && !errors.As(err, &ended) && !errors.Is(err, journal.ErrLeaseLost) && !errors.Is(err, journal.ErrNotFound) {
			a.p.log.Error("journal the answer of an app", "agent", a.p.agent, "intent_id", one.ID.String(), "err", err)
		}
	}
}
