package bench

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Options say what to measure, and how long. DefaultOptions has the default of each.
type Options struct {
	Program string // the binary whose `run` is a sidecar, and whose `bench echo` is the echo
	Dir     string // where the journals are, in a directory of their own

	Items   []string      // names of Items; empty: all
	Time    time.Duration // of posting, in each slot
	Pairs   int           // of slots, for each item
	Clients int           // that post at once
	Window  int           // intents for each client, accepted and not answered by the app
	Payload int           // bytes
	Batch   int           // intents in a batch
	Rate    int           // intents a second in the open loop

	Profiles string            // directory for CPU profiles of home and holder; empty: none
	Progress func(what string) // told what begins; nil: nobody is
}

// DefaultOptions give all figures in less than a minute.
func DefaultOptions() Options {
	return Options{
		Dir: ".", Time: time.Second, Pairs: 2,
		Clients: 64, Window: 4, Payload: 1024, Batch: 64, Rate: 200,
	}
}

// Quick is for trying whether it works: seconds, and figures worth little.
func (o *Options) Quick() {
	o.Time, o.Pairs, o.Clients = 100*time.Millisecond, 1, 8
}

const (
	minPayload = 64 // room for what tells intents apart
	maxPayload = 1 << 19
	maxBatch   = 1000
)

// Validate names every option that makes no sense.
func (o *Options) Validate() error {
	var wrong []error
	for _, name := range o.Items {
		if !slices.Contains(ItemNames(), name) {
			wrong = append(wrong, fmt.Errorf("only: %q is none of %s", name, strings.Join(ItemNames(), ", ")))
		}
	}
	for _, n := range []struct {
		name         string
		value, least int
		most         int
	}{
		{"pairs", o.Pairs, 1, 100}, {"clients", o.Clients, 1, 4096}, {"window", o.Window, 1, 1000},
		{"payload", o.Payload, minPayload, maxPayload}, {"batch", o.Batch, 1, maxBatch}, {"rate", o.Rate, 1, 100_000},
	} {
		if n.value < n.least || n.value > n.most {
			wrong = append(wrong, fmt.Errorf("%s: %d; use %d to %d", n.name, n.value, n.least, n.most))
		}
	}
	if o.Time < 10*time.Millisecond || o.Time > time.Minute {
		wrong = append(wrong, fmt.Errorf("time: %s; use 10ms to 1m", o.Time))
	}
	for _, d := range []struct{ name, path string }{{"dir", o.Dir}, {"pprof", o.Profiles}} {
		if d.path == "" {
			continue
		}
		// Now, and not after a minute of measuring.
		if info, err := os.Stat(d.path); err != nil || !info.IsDir() {
			wrong = append(wrong, fmt.Errorf("%s: %s is no directory; make it first: mkdir -p %[2]s", d.name, d.path))
		}
	}
	return errors.Join(wrong...)
}

func (o *Options) progress(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}
