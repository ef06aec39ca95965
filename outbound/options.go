package outbound

import (
	"errors"
	"fmt"
	"time"

	"pannier/journal"
)

// Options configure a Dispatcher. The keys in the errors of Validate are those
// of the configuration.
type Options struct {
	// OfferTimeout is how long a peer may take to answer: a dial with its hello,
	// a line of the reconciliation, a frame of offers.
	OfferTimeout time.Duration
	// RedialMin and RedialMax bound the pause before a peer is dialed again.
	RedialMin, RedialMax time.Duration

	// HolderLostAfter is how long a holder may be without a stream before its
	// intents are offered elsewhere; HolderLostAfterEphemeral when its journal
	// does not outlive its host; HolderMovedAfter when another journal answers
	// at its address.
	HolderLostAfter, HolderLostAfterEphemeral, HolderMovedAfter time.Duration

	// UncleanWait is how long after an unclean start what may be held somewhere
	// waits for the endpoints to say what they hold.
	UncleanWait time.Duration
	// IdleClose closes a stream with nothing held and nothing unacked.
	IdleClose time.Duration

	MaxFrame         int // bytes; a larger message goes alone
	MaxInFlightBytes int // of envelopes claimed and not yet written, over all peers
}

// DefaultOptions returns what a sidecar runs with when nothing else is said.
func DefaultOptions() Options {
	return Options{
		OfferTimeout:             10 * time.Second,
		RedialMin:                time.Second,
		RedialMax:                time.Minute,
		HolderLostAfter:          10 * time.Minute,
		HolderLostAfterEphemeral: time.Minute,
		HolderMovedAfter:         time.Minute,
		UncleanWait:              5 * time.Second,
		IdleClose:                10 * time.Minute,
		MaxFrame:                 1 << 20,
		MaxInFlightBytes:         32 << 20,
	}
}

// Validate joins every complaint.
func (o Options) Validate() error {
	var errs []error
	for _, d := range []struct {
		key string
		d   time.Duration
	}{
		{"offer_timeout", o.OfferTimeout},
		{"redial_min", o.RedialMin},
		{"holder_lost_after", o.HolderLostAfter},
		{"holder_lost_after_ephemeral", o.HolderLostAfterEphemeral},
		{"holder_moved_after", o.HolderMovedAfter},
		{"unclean_wait", o.UncleanWait},
		{"idle_close", o.IdleClose},
	} {
		if d.d <= 0 {
			errs = append(errs, fmt.Errorf("%s: must be more than zero, not %v", d.key, d.d))
		}
	}
	if o.RedialMax < o.RedialMin {
		errs = append(errs, fmt.Errorf("redial_max: %s is less than redial_min (%s); use at least that", o.RedialMax, o.RedialMin))
	}
	if o.MaxFrame < 64<<10 || o.MaxFrame > 3<<20 {
		errs = append(errs, fmt.Errorf("max_frame: must be between 64 KiB and 3 MiB, not %d", o.MaxFrame))
	}
	if o.MaxInFlightBytes < 4<<20 {
		errs = append(errs, fmt.Errorf("max_in_flight_bytes: must be at least 4 MiB, not %d", o.MaxInFlightBytes))
	}
	return errors.Join(errs...)
}

// Self is who this sidecar is to its peers.
type Self struct {
	Identity  journal.Identity
	Address   string // of its peer listener, as others dial it
	Ephemeral bool   // its journal does not outlive its host
	Zone      string
}
