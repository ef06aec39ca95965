package xds

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
)

// Options configure a client.
type Options struct {
	Servers []string          // HOST:PORT, in order of preference
	Dial    []grpc.DialOption // credentials, and how to dial
	Token   string            // file of a token that is shown to servers; empty: none
	File    string            // where the last known good is kept; empty: nowhere
	Version string            // of the program, for the server to see
	Zone    string            // of this sidecar

	// Trust takes the authorities of the mesh, in PEM, whenever a server has named
	// others; nil asks for none. What was taken stays until it is given others: it
	// is never given none, and a server that has no more does not take them back.
	Trust func(bundle []byte) error

	// NotFoundAfter is how long a resource may be asked for and not come, from a
	// server that speaks, before it does not exist: servers of delta say nothing of
	// what they do not have. As in Envoy and gRPC.
	NotFoundAfter time.Duration
	// DeletionGrace is how long what a server has deleted is used on: most
	// deletions of everything are mistakes.
	DeletionGrace time.Duration
	// FailOnDataErrors ends the use of what is in force with the first thing that is
	// wrong about it, as gRPC's clients do where they are told to (A88): its server
	// deletes it, or says that it is not there or not for us, or its newest version is
	// refused. What goes there waits then. It is for who would rather not send than send
	// by what the control plane no longer stands for.
	FailOnDataErrors bool
	// IdleAfter is how long an agent is subscribed to that nobody asks for.
	IdleAfter time.Duration
}

// DefaultOptions are for a client without servers.
func DefaultOptions() Options {
	return Options{NotFoundAfter: 15 * time.Second, DeletionGrace: 10 * time.Minute, IdleAfter: time.Hour}
}

// Validate complains about what a config file can set, with its key.
func (o *Options) Validate() error {
	var errs []error
	if o.NotFoundAfter <= 0 {
		errs = append(errs, fmt.Errorf("not_found_after: %s; use a duration above zero", o.NotFoundAfter))
	}
	if o.DeletionGrace < 0 {
		errs = append(errs, fmt.Errorf("deletion_grace: %s; use 0s, which obeys at once, or more", o.DeletionGrace))
	}
	if len(o.Servers) > maxServers {
		errs = append(errs, fmt.Errorf("xds: %d servers; use at most %d", len(o.Servers), maxServers))
	}
	return errors.Join(errs...)
}

// grace is how long what a server has deleted is used on.
func (o *Options) grace() time.Duration {
	if o.FailOnDataErrors {
		return 0
	}
	return o.DeletionGrace
}

const (
	// coalesceFor gathers names before they are asked for: a request costs a server
	// as much as there are names on the stream, so 2,000 one by one cost seconds.
	coalesceFor = 15 * time.Millisecond
	// warmWithin is how long what is in force stays while what comes next is not
	// whole.
	warmWithin = 15 * time.Second
	// unheardFor is how long a sidecar that serves agents goes without a server that
	// hears of them before it asks the next: a restart of one takes less, and is no
	// reason for all to move.
	unheardFor = 10 * time.Second
	// silentAfter ends a stream that has never said anything.
	silentAfter = 60 * time.Second

	pingEvery   = 30 * time.Second
	pingTimeout = 10 * time.Second

	// maxMessage bounds one response: a reconnect may bring everything in one.
	maxMessage = 16 << 20

	maxServers = 8
	// maxAgents bounds the subscriptions. It is what may be unknown at once, and as
	// many again that are known.
	maxAgents = 20_000

	// sweepEvery is how far apart idle subscriptions are looked for, and how long
	// who is woken has to ask again.
	sweepEvery = time.Minute

	// rewriteEvery shows on the volume that the last known good was still so.
	rewriteEvery = 24 * time.Hour
	// keptFor is the age at which the last known good is no longer believed.
	keptFor = 30 * 24 * time.Hour
	// writeEvery bounds how often the file is written under churn.
	writeEvery = time.Second
)
