package inbound

import (
	"errors"
	"fmt"
	"time"

	"pannier/journal"
)

// Options configure the mailbox and the peer server. DefaultOptions gives
// values for all of them.
type Options struct {
	PollLease   time.Duration // a pull that names no lease gets this one
	StreamLease time.Duration // the lease of every hand-over on a stream

	WorkTimeout time.Duration // an extend that names no time gets this one
	WorkMax     time.Duration // and none gets more than this at once

	NoReaderAfter time.Duration // the door shuts when nobody has pulled for so long
	ReleaseAfter  time.Duration // behind a shut door, what is unleased for so long goes back to home
	ProbeMin      time.Duration // pause before the first probe of a shut door
	ProbeMax      time.Duration // and before any later one

	MaxOpen    int // unsettled intents per agent, over all homes
	HomeWindow int // of them per home, once the app has proved itself
	WindowMax  int // of them per home, whatever the limits of its pulls
	MaxPulls   int // pulls waiting per agent

	MaxFrame      int // bytes of a frame; a larger message goes alone
	MaxPullBytes  int // payload bytes one pull is given, about
	MaxUnheld     int // bytes of offers not yet in the journal, of all sessions
	OrphanAfter   time.Duration
	KnockMin      time.Duration // pause after the first knock at a home that does not dial
	KnockMax      time.Duration
	HelloTimeout  time.Duration // a stream that has not said hello by then is closed
	AnswerTimeout time.Duration // of one knock
}

// DefaultOptions are what a sidecar runs with when nothing else is said.
func DefaultOptions() Options {
	return Options{
		PollLease:     30 * time.Second,
		StreamLease:   5 * time.Minute,
		WorkTimeout:   time.Hour,
		WorkMax:       24 * time.Hour,
		NoReaderAfter: time.Minute,
		ReleaseAfter:  30 * time.Second,
		ProbeMin:      500 * time.Millisecond,
		ProbeMax:      30 * time.Second,
		MaxOpen:       10_000,
		HomeWindow:    256,
		WindowMax:     2_000,
		MaxPulls:      1_000,
		MaxFrame:      1 << 20,
		MaxPullBytes:  4 << 20,
		MaxUnheld:     8 << 20,
		OrphanAfter:   7 * 24 * time.Hour,
		KnockMin:      time.Second,
		KnockMax:      time.Minute,
		HelloTimeout:  10 * time.Second,
		AnswerTimeout: 5 * time.Second,
	}
}

// Validate names every option that makes no sense.
func (o Options) Validate() error {
	var wrong []error
	positive := func(key string, ok bool) {
		if !ok {
			wrong = append(wrong, fmt.Errorf("%s: must be more than zero", key))
		}
	}
	positive("poll_lease", o.PollLease > 0)
	positive("stream_lease", o.StreamLease > 0)
	positive("work_timeout", o.WorkTimeout > 0)
	positive("no_reader_after", o.NoReaderAfter > 0)
	positive("release_after", o.ReleaseAfter > 0)
	positive("probe_min", o.ProbeMin > 0)
	positive("max_open", o.MaxOpen > 0)
	positive("home_window", o.HomeWindow > 0)
	positive("max_pulls", o.MaxPulls > 0)
	positive("orphan_after", o.OrphanAfter > 0)
	if o.WorkMax < o.WorkTimeout {
		wrong = append(wrong, fmt.Errorf("work_max: %s is less than work_timeout (%s); use at least that", o.WorkMax, o.WorkTimeout))
	}
	if o.ProbeMax < o.ProbeMin {
		wrong = append(wrong, fmt.Errorf("probe_max: %s is less than probe_min (%s); use at least that", o.ProbeMax, o.ProbeMin))
	}
	if o.WindowMax < o.HomeWindow {
		wrong = append(wrong, fmt.Errorf("window_max: %d is less than home_window (%d); use at least that", o.WindowMax, o.HomeWindow))
	}
	return errors.Join(wrong...)
}

// Self is who this sidecar is to its peers.
type Self struct {
	Identity  journal.Identity
	Address   string // where peers dial it
	Ephemeral bool   // its journal does not outlive its host
}
