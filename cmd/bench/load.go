package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The agents of home and of holder.
const (
	sender   = "agent://bench/local/load"
	receiver = "agent://bench/local/app"
)

// load posts to one URL with a number of clients.
type load struct {
	client  *http.Client
	url     string
	clients int
	body    func() *body
	ledger  *ledger
	until   time.Time
	lenient bool // 429 and 503 are answers like others

	mu       sync.Mutex
	accepted []time.Duration // from due to the answer
	failure  error
}

// newClient is the one client of the run, for the echo as for the sidecars.
func newClient(conns int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: conns, DisableCompression: true}}
}

// closed has each client post its next request when the last one is answered.
func (l *load) closed(ctx context.Context) error {
	var all sync.WaitGroup
	for range l.clients {
		all.Go(func() {
			b := l.body()
			for time.Now().Before(l.until) && ctx.Err() == nil && l.failed() == nil {
				if !l.enter(ctx, len(b.marks)) {
					return
				}
				l.post(ctx, b, time.Now())
			}
		})
	}
	all.Wait()
	return errors.Join(ctx.Err(), l.failed())
}

// underWayMost bounds the requests of the open loop that have no answer: each is a
// connection. Beyond it the rate is none that can be measured.
const underWayMost = 4096

// paced posts at a fixed rate, whatever the answers do, until one of them is an error.
func (l *load) paced(ctx context.Context, rate int) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel() // what is not answered when all else has failed never is
	underWay := make(chan struct{}, underWayMost)
	bodies := sync.Pool{New: func() any { return l.body() }}
	for n := 0; ; n++ {
		due := l.ledger.begin.Add(time.Duration(n) * time.Second / time.Duration(rate))
		if !due.Before(l.until) {
			all.Wait()
			return l.failed()
		}
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := l.failed(); err != nil {
			return err
		}
		select {
		case underWay <- struct{}{}:
		default:
			return fmt.Errorf("%d requests are under way and not answered: %d a second are too many here", underWayMost, rate)
		}
		all.Go(func() {
			defer func() { <-underWay }()
			b := bodies.Get().(*body)
			defer bodies.Put(b)
			l.post(ctx, b, due)
		})
	}
}

// enter waits until n more may be open; false where the posting ends first.
func (l *load) enter(ctx context.Context, n int) bool {
	if l.ledger.room == nil {
		return true
	}
	late := time.NewTimer(time.Until(l.until))
	defer late.Stop()
	for taken := range n {
		select {
		case l.ledger.room <- struct{}{}:
			continue
		case <-late.C:
		case <-ctx.Done():
		}
		l.leave(taken)
		return false
	}
	return true
}

// leave gives back room that nothing was posted for.
func (l *load) leave(n int) {
	if l.ledger.room != nil {
		for range n {
			<-l.ledger.room
		}
	}
}

func (l *load) post(ctx context.Context, b *body, due time.Time) {
	for i := range b.marks {
		n, ok := l.ledger.draw(due)
		if !ok {
			l.fail(fmt.Errorf("more than %d intents: post for a shorter time", len(l.ledger.due)))
			return
		}
		b.mark(i, mark{l.ledger.slot, n})
	}
	status, answer, err := call(ctx, l.client, http.MethodPost, l.url, b.text)
	took := time.Since(due)
	switch {
	case err != nil:
		l.fail(err)
		return
	case l.lenient && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable):
		l.ledger.refused.Add(int64(len(b.marks)))
		l.leave(len(b.marks))
		return
	case status != http.StatusOK, len(b.marks) > 1 && bytes.Count(answer, []byte(`"ok":true`)) != len(b.marks)+1:
		l.fail(fmt.Errorf("POST %s: %d %s", l.url, status, clip(answer)))
		return
	}
	l.ledger.accepted.Add(int64(len(b.marks)))
	l.mu.Lock()
	l.accepted = append(l.accepted, took)
	l.mu.Unlock()
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure == nil {
		l.failure = err
	}
}

func (l *load) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

// call makes one request and reads all of the answer.
func call(ctx context.Context, client *http.Client, method, url string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

func clip(text []byte) string { return string(text[:min(len(text), 500)]) }

// body is a request whose marks are written in place.
type body struct {
	text  []byte
	marks []int // where each is
}

func (b *body) mark(i int, m mark) { m.write(b.text[b.marks[i] : b.marks[i]+markWidth]) }

// newBody is one intent with a payload of the given size, or a batch of them.
func newBody(payload, batch int) *body {
	head, tail := `{"`+strings.TrimPrefix(markName, `"`), `","pad":"`
	filling := max(0, payload-len(head)-markWidth-len(tail)-len(`"}`))
	one := fmt.Sprintf(`{"intent_type":"bench.v1","to_agent":%q,"payload":%s%s%s%s"}}`,
		receiver, head, strings.Repeat("0", markWidth), tail, strings.Repeat("x", filling))
	text := one
	if batch > 1 {
		text = `{"intents":[` + strings.TrimSuffix(strings.Repeat(one+",", batch), ",") + `]}`
	}
	b := &body{text: []byte(text)}
	for at := 0; ; {
		next := strings.Index(text[at:], markName)
		if next < 0 {
			return b
		}
		at += next + len(markName)
		b.marks = append(b.marks, at)
	}
}
