package webhook

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"pannier/inbound"
)

// pump sends the intents of one agent to one URL.
type pump struct {
	*Pusher
	target
	agent  string
	host   string // of the URL
	client *http.Client
	push   *inbound.Push
	stop   func()        // takes nothing more; what is under way is answered
	left   chan struct{} // closed when it takes nothing more
}

func (p *Pusher) start(ctx context.Context, running *sync.WaitGroup, agent string, to target) *pump {
	taking, stop := context.WithCancel(ctx)
	one := &pump{Pusher: p, target: to, agent: agent, host: hostOf(to.URL), client: newClient(to.URL, &p.o), push: p.m.OpenPush(agent), stop: stop, left: make(chan struct{})}
	running.Go(func() {
		defer stop()
		one.run(ctx, taking)
		one.client.CloseIdleConnections()
	})
	return one
}

// hostOf is HOST:PORT of a URL, which has been read before.
func hostOf(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return ""
	case u.Port() != "":
		return u.Host
	case u.Scheme == "https":
		return u.Host + ":443"
	}
	return u.Host + ":80"
}

// run takes as many as there are requests free, until taking ends, and returns
// when all are answered and the answers journaled.
func (p *pump) run(ctx, taking context.Context) {
	width := p.o.HTTPConcurrency
	if p.courier != nil {
		width = min(width, courierWidth)
	}
	free := make(chan struct{}, width)
	for range width {
		free <- struct{}{}
	}
	var sent sync.WaitGroup
	came := newAnswers(p)
	go came.run(ctx) // until finish
	defer came.finish()
	defer sent.Wait()
	defer close(p.left)
	defer p.push.Close()
	for {
		select {
		case <-free:
		case <-taking.Done():
			return
		}
		n := 1 + grab(free, width)
		got, err := p.push.Next(taking, n)
		for range n - len(got) {
			free <- struct{}{}
		}
		for i := range got {
			sent.Go(func() {
				p.send(ctx, &got[i], came)
				free <- struct{}{}
			})
		}
		switch {
		case errors.Is(err, inbound.ErrDraining):
			<-taking.Done()
			return
		case err != nil && taking.Err() == nil:
			p.log.Error("push", "agent", p.agent, "err", err)
			select {
			case <-time.After(pauseFault):
			case <-taking.Done():
			}
		}
	}
}

const pauseFault = time.Second

// grab takes what there is without waiting.
func grab(free <-chan struct{}, most int) (n int) {
	for n < most {
		select {
		case <-free:
			n++
		default:
			return n
		}
	}
	return n
}
