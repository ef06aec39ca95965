package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// app is the receiver: it does nothing with what it gets but to say so.
type app struct {
	client  *http.Client
	base    string // of the holder's app API
	ledger  atomic.Pointer[ledger]
	running sync.WaitGroup

	mu      sync.Mutex
	failure error
}

// The readers, and how much each takes at once. With more of them batches get
// smaller, with fewer the holder waits for one.
const (
	singlePollers, singlePoll = 32, 8
	batchPollers, batchPoll   = 4, 64
	largePollers, largePoll   = 4, 256
	streams                   = 4
	pollWait                  = "5" // seconds
)

// push serves what the holder posts.
func (a *app) push() (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		m, ok := readMark(body)
		if err != nil || !ok || !a.ledger.Load().see(m) {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusOK)
		a.ledger.Load().answer(m)
	})}
	a.running.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.fail(err)
		}
	})
	return "http://" + l.Addr().String() + "/", func() { _ = server.Close(); a.running.Wait() }, nil
}

func pollSingly(ctx context.Context, a *app) {
	a.loops(ctx, singlePollers, func() error {
		got, err := a.poll(ctx, singlePoll)
		for _, i := range got {
			if err == nil {
				err = a.ack(ctx, i)
			}
		}
		return err
	})
}

func pollBatches(ctx context.Context, a *app) { a.pollAndSettle(ctx, batchPollers, batchPoll) }

func pollLarge(ctx context.Context, a *app) { a.pollAndSettle(ctx, largePollers, largePoll) }

func (a *app) pollAndSettle(ctx context.Context, pollers, limit int) {
	a.loops(ctx, pollers, func() error {
		got, err := a.poll(ctx, limit)
		if err != nil || len(got) == 0 {
			return err
		}
		return a.settle(ctx, got)
	})
}

func (a *app) loops(ctx context.Context, n int, once func() error) {
	for range n {
		a.running.Go(func() {
			for ctx.Err() == nil {
				if err := once(); err != nil && ctx.Err() == nil {
					a.fail(err)
					return
				}
			}
		})
	}
}

// handed is one intent as the holder hands it over.
type handed struct {
	id, lease string
	mark      mark
}

func (a *app) poll(ctx context.Context, limit int) ([]handed, error) {
	status, answer, err := call(ctx, a.client, http.MethodGet, fmt.Sprintf("%s%s?limit=%d&wait_seconds=%s", a.base, agentPath, limit, pollWait), nil)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("poll: %d %s", status, clip(answer))
	}
	return a.read(answer)
}

var agentPath = "/v1/agents/" + strings.TrimPrefix(receiver, "agent://") + "/intents"

// read finds the intents in an answer, without decoding it: see mark.
func (a *app) read(answer []byte) (all []handed, err error) {
	const first = `"intent_id":"`
	for _, part := range bytes.Split(answer, []byte(first))[1:] {
		m, ok := readMark(part)
		lease, leased := member(part, `"lease_id":"`)
		id, _, closed := bytes.Cut(part, []byte{'"'})
		if !ok || !leased || !closed {
			return nil, fmt.Errorf("not an intent of this run: %s", clip(part))
		}
		all = append(all, handed{string(id), lease, m})
		a.ledger.Load().see(m)
	}
	return all, nil
}

// member is the text after a name, to its closing quote.
func member(part []byte, name string) (string, bool) {
	_, rest, ok := bytes.Cut(part, []byte(name))
	value, _, closed := bytes.Cut(rest, []byte{'"'})
	return string(value), ok && closed
}

func (a *app) ack(ctx context.Context, i handed) error {
	status, answer, err := call(ctx, a.client, http.MethodPost, a.base+"/v1/intents/"+i.id+"/ack", []byte(`{"lease_id":"`+i.lease+`"}`))
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("ack: %d %s", status, clip(answer))
	}
	a.ledger.Load().answer(i.mark)
	return nil
}

func (a *app) settle(ctx context.Context, got []handed) error {
	var b bytes.Buffer
	b.WriteString(`{"items":[`)
	for n, i := range got {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"action":"ack","intent_id":"%s","lease_id":"%s"}`, i.id, i.lease)
	}
	b.WriteString(`]}`)
	status, answer, err := call(ctx, a.client, http.MethodPost, a.base+agentPath+":settle", b.Bytes())
	if err != nil {
		return err
	}
	if status != http.StatusOK || bytes.Count(answer, []byte(`"ok":true`)) != len(got)+1 {
		return fmt.Errorf("settle of %d: %d %s", len(got), status, clip(answer))
	}
	for _, i := range got {
		a.ledger.Load().answer(i.mark)
	}
	return nil
}

// streamBatches reads endless streams. What comes together is settled together.
func streamBatches(ctx context.Context, a *app) {
	a.loops(ctx, streams, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+agentPath+"/stream?since=0", nil)
		if err != nil {
			return err
		}
		resp, err := a.client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("stream: %s", resp.Status)
		}
		came := make(chan handed, batchPoll)
		var settling sync.WaitGroup
		defer settling.Wait()
		defer close(came)
		settling.Go(func() { a.settleWhatComes(ctx, came) })
		return a.readStream(resp.Body, came)
	})
}

func (a *app) readStream(body io.Reader, came chan<- handed) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		got, err := a.read(data)
		if err != nil {
			return err
		}
		for _, i := range got {
			came <- i
		}
	}
	return lines.Err()
}

// settleWhatComes settles what has come while the last settle was under way.
func (a *app) settleWhatComes(ctx context.Context, came <-chan handed) {
	for i := range came {
		batch := []handed{i}
		for more := true; more && len(batch) < batchPoll; {
			select {
			case i, ok := <-came:
				if more = ok; ok {
					batch = append(batch, i)
				}
			default:
				more = false
			}
		}
		if err := a.settle(ctx, batch); err != nil && ctx.Err() == nil {
			a.fail(err)
		}
	}
}

func (a *app) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failure == nil {
		a.failure = err
	}
}

func (a *app) failed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failure
}

// quantile of sorted times; 0 where there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
