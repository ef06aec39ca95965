package outbound

import "time"

// Policy is the traffic policy of one destination, whoever wrote it: a control
// plane or the config file. The zero value asks for nothing: what is zero in it
// is as Options say.
type Policy struct {
	Paused bool // nothing is offered; what is held goes on

	MaxRequests   int           // intents sent to its endpoints and unanswered at once, beside credit
	PerTryTimeout time.Duration // for the answer to one frame of offers
	Backoff       Backoff       // between tries to reach one endpoint
	Breaker       BreakerPolicy
	Fault         Fault
	Split         []Share // empty: all endpoints alike
}

// Backoff bounds the pause before another try: full jitter below Base, doubled
// up to Max.
type Backoff struct{ Base, Max time.Duration }

// BreakerPolicy says when an endpoint is left alone, and for how long.
type BreakerPolicy struct {
	Consecutive        int           // failures in a row that open it
	Interval           time.Duration // in which failures are counted
	BaseEjection       time.Duration // how long it stays open the first time; doubled each time in a row
	MaxEjection        time.Duration
	MaxEjectionPercent int // no more of a destination's endpoints than these are open at once
}

// Fault is injected before a frame of offers leaves, to see what a slow or a
// failing peer does. Percentages are from 0 to 100, of frames.
type Fault struct {
	Delay        time.Duration
	DelayPercent float64
	AbortPercent float64 // the exchange counts as failed; nothing is sent
}

// Share is the part of a destination's intents that goes to one subset of its
// endpoints. Which intent goes where depends on its id alone.
type Share struct {
	Subset string // as in Endpoint
	Weight int
}

// Health is what discovery says of an endpoint; the breaker has its own mind.
type Health uint8

const (
	Healthy   Health = iota
	Draining         // gets nothing new; what it holds it goes on with
	Unhealthy        // gets nothing new
)
