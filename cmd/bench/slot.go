package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Sample is what one slot has shown.
type Sample struct {
	Seconds   float64 `json:"seconds"`
	Accepted  int64   `json:"accepted"`
	Refused   int64   `json:"refused,omitempty"`     // 429 and 503
	Delivered int64   `json:"delivered"`             // the app has had it
	Again     int64   `json:"delivered_again"`       // more than once
	Settled   int64   `json:"settled"`               // the app has answered
	Ended     int64   `json:"ended"`                 // home has the outcome
	Rate      float64 `json:"accepts_per_second"`    // while there was posting
	EndRate   float64 `json:"end_to_end_per_second"` // to the last outcome at home

	Accept Quantiles `json:"accept"`
	ToApp  Quantiles `json:"to_app"`

	CPU     map[string]float64 `json:"cpu_us_per_intent"` // by process
	Faults  map[string]float64 `json:"page_faults_per_intent"`
	Commits map[string]float64 `json:"commits_per_second"`
	Batch   map[string]float64 `json:"operations_per_commit"`
	Memory  map[string]Memory  `json:"memory"`
}

// Quantiles of times, in microseconds.
type Quantiles struct {
	P50 float64 `json:"p50_us"`
	P99 float64 `json:"p99_us"`
}

func quantiles(all []time.Duration) Quantiles {
	slices.Sort(all)
	return Quantiles{micros(quantile(all, 0.5)), micros(quantile(all, 0.99))}
}

func micros(d time.Duration) float64 { return math.Round(float64(d.Nanoseconds())/100) / 10 }

// usage is what the processes have used at one moment.
type usage struct {
	at           time.Time
	spent        map[string]spent
	home, holder state
}

func (r *rig) usage(ctx context.Context) (u usage, err error) {
	if u.home, err = r.state(ctx, r.home); err != nil {
		return u, err
	}
	if u.holder, err = r.state(ctx, r.holder); err != nil {
		return u, err
	}
	u.at = time.Now()
	u.spent = map[string]spent{
		"load": ownSpent(), "home": spentBy(r.home.cmd.Process.Pid), "holder": spentBy(r.holder.cmd.Process.Pid),
	}
	return u, nil
}

func ownSpent() spent {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return spent{}
	}
	return spent{time.Duration(u.Utime.Nano() + u.Stime.Nano()), u.Minflt}
}

// slot posts for a span and waits for the end of what it has posted.
func (r *rig) slot(ctx context.Context, i item, number int, span time.Duration) (s Sample, err error) {
	window := 0
	if i.window {
		window = r.o.Clients * r.o.Window
	}
	batch := 1
	path, clients := "/v1/intents", r.o.Clients
	if i.batch {
		// As many intents as the single clients would have under way, in fewer requests.
		batch, path = r.o.Batch, "/v1/intents:batch"
		clients = max(1, clients/4)
		window = max(window, 2*clients*batch)
	}
	book := newLedger(number, span, window)
	l := &load{
		client: r.client, url: "http://" + r.home.ready.API + path, clients: clients, ledger: book,
		body: func() *body { return newBody(r.o.Payload, batch) }, lenient: i.endless,
	}
	before, err := r.usage(ctx)
	if err != nil {
		return s, err
	}
	r.app.ledger.Store(book)
	book.begin = before.at
	l.until = book.begin.Add(span)
	if err := r.post(ctx, i, l); err != nil {
		return s, err
	}
	posted := time.Since(book.begin)
	if !i.endless {
		if err := r.drained(ctx, book); err != nil {
			return s, err
		}
	}
	after, err := r.usage(ctx)
	if err != nil {
		return s, err
	}
	s.count(book, after.home)
	s.Rate = float64(s.Accepted) / posted.Seconds()
	s.measure(before, after)
	s.Memory = map[string]Memory{"home": memory(r.home.cmd.Process.Pid), "holder": memory(r.holder.cmd.Process.Pid)}
	s.Accept, s.ToApp = quantiles(l.accepted), quantiles(book.reached())
	if i.endless {
		return s, nil
	}
	return s, s.consistent()
}

func (r *rig) post(ctx context.Context, i item, l *load) error {
	if i.paced {
		return l.paced(ctx, r.o.Rate)
	}
	return l.closed(ctx)
}

func (s *Sample) count(l *ledger, home state) {
	s.Accepted, s.Refused = l.accepted.Load(), l.refused.Load()
	s.Delivered, s.Again, s.Settled = l.delivered.Load(), l.again.Load(), l.settled.Load()
	s.Ended = s.Accepted - int64(home.Live.Open)
}

func (s *Sample) measure(before, after usage) {
	s.Seconds = after.at.Sub(before.at).Seconds()
	s.EndRate = float64(s.Ended) / s.Seconds
	done := float64(max(1, s.Ended))
	if s.Ended == 0 {
		done = float64(max(1, s.Accepted))
	}
	s.CPU, s.Faults = map[string]float64{}, map[string]float64{}
	for name, used := range after.spent {
		s.CPU[name] = float64((used.cpu - before.spent[name].cpu).Microseconds()) / done
		s.Faults[name] = float64(used.faults-before.spent[name].faults) / done
	}
	s.Commits, s.Batch = map[string]float64{}, map[string]float64{}
	for name, j := range map[string][2]state{"home": {before.home, after.home}, "holder": {before.holder, after.holder}} {
		commits := float64(j[1].Commits - j[0].Commits)
		s.Commits[name] = commits / s.Seconds
		s.Batch[name] = float64(j[1].Ops-j[0].Ops) / max(1, commits)
	}
}

// consistent holds the figures of a slot that has been waited for to one another.
func (s *Sample) consistent() error {
	var errs []error
	for _, n := range []struct {
		what string
		is   int64
	}{{"were delivered", s.Delivered}, {"were settled", s.Settled}, {"ended at home", s.Ended}} {
		if n.is != s.Accepted {
			errs = append(errs, fmt.Errorf("%d intents were accepted and %d %s", s.Accepted, n.is, n.what))
		}
	}
	return errors.Join(errs...)
}

// profiled runs a slot and takes CPU profiles of home and holder meanwhile.
func (r *rig) profiled(ctx context.Context, i item, number int, span time.Duration) (Sample, error) {
	seconds := max(1, int(math.Ceil(span.Seconds())))
	var taking sync.WaitGroup
	errs := make([]error, 2)
	for n, p := range []*process{r.home, r.holder} {
		taking.Go(func() {
			errs[n] = r.profile(ctx, p, seconds, filepath.Join(r.o.Profiles, i.name+"-"+p.name+".pprof"))
		})
	}
	s, err := r.slot(ctx, i, number, span)
	taking.Wait()
	return s, errors.Join(append(errs, err)...)
}
