package outbound

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Policy is the traffic policy of one destination, whoever wrote it: a control
// plane or a file. The zero value asks for nothing: what is zero in it is as
// Options say. Each field names the one of Envoy's resources it is read from,
// and is called by the key it has in a file.
//
// Backoff and Breaker are about an address, which may serve several destinations
// and has one stream and one breaker. Of what these ask for the most careful is in
// force: the fewest failures, the longest times; one that asks for nothing has no
// say. What is in force stays until another destination of the address asks.
type Policy struct {
	// Paused: nothing is offered, to peers or to our own mailbox, and nobody is
	// dialed. What is held goes on, and so do the limits of time. From the RTDS
	// layer of switches.
	Paused bool

	// MaxRequests is how many intents may be sent to the endpoints and unanswered
	// at once, beside credit. Completions to the agent count by themselves.
	// Cluster.circuit_breakers.thresholds.max_requests.
	MaxRequests int
	// PerTryTimeout is for the answer to one frame of offers.
	// RouteAction.retry_policy.per_try_timeout.
	PerTryTimeout time.Duration
	Backoff       Backoff
	Breaker       BreakerPolicy
	Fault         Fault
	// Split gives parts of the intents to subsets of the endpoints; empty: all
	// endpoints alike. RouteAction.weighted_clusters.
	Split []Share
}

// Backoff bounds the pause between tries to reach one endpoint, and after a
// refusal that names no time: full jitter below Base, doubled up to Max.
// RouteAction.retry_policy.retry_back_off.
type Backoff struct{ Base, Max time.Duration }

// BreakerPolicy says when an endpoint is left alone, and for how long.
// Cluster.outlier_detection.
type BreakerPolicy struct {
	// Consecutive is how many failures in a row open it. Beside them half of four
	// times as many failing do, of 20 at least. consecutive_5xx.
	Consecutive int
	// Interval is the time in which failures are counted. It is never less than
	// Consecutive failures need to happen in: outcomes older than it are not
	// counted, so that hangs would never open the breaker. interval.
	Interval time.Duration
	// BaseEjection is how long it stays open, times the number of openings in a
	// row, up to MaxEjection, and up to a fifth longer. Without it the time doubles
	// from Options.RedialMin. base_ejection_time, max_ejection_time.
	BaseEjection, MaxEjection time.Duration
	// MaxEjectionPercent: no more of a destination's endpoints than these are open
	// at once. The others, those that opened last, are tried again after Backoff,
	// each with one intent, as if their time were over. max_ejection_percent.
	MaxEjectionPercent int
}

// Fault is injected before a frame of offers leaves, to see what a slow or a
// failing peer does. Percentages are from 0 to 100, of frames. What our own
// mailbox takes is no frame. HTTPFault.
type Fault struct {
	Delay        time.Duration // delay.fixed_delay
	DelayPercent float64       // delay.percentage
	// AbortPercent: the exchange counts as failed for the breaker, and nothing is
	// sent; the intents are due again, and none of it is an attempt.
	// abort.percentage
	AbortPercent float64
}

// Share is the part of a destination's intents that goes to one subset of its
// endpoints. Which intent goes where depends on its id alone, so that it is the
// same after a restart; where the first of two weights grows, only intents of the
// second move. An intent whose subset has no usable endpoint waits for one: it
// goes to no other, as in Envoy. Our own mailbox takes part in no split.
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

var healthNames = [...]string{Healthy: "healthy", Draining: "draining", Unhealthy: "unhealthy"}

func (h Health) String() string {
	if int(h) < len(healthNames) {
		return healthNames[h]
	}
	return healthNames[Unhealthy]
}

// ParseHealth is the inverse of String.
func ParseHealth(s string) (Health, bool) {
	i := slices.Index(healthNames[:], s)
	return Health(max(i, 0)), i >= 0
}

const (
	// SplitMost is how many shares a split may have: each has a place of its own
	// in the journal's index.
	SplitMost = 16

	perTryLeast = 10 * time.Millisecond // a frame is answered after an fsync
	countMost   = 1 << 20
	spanMost    = 24 * time.Hour
	delayMost   = 10 * time.Minute
)

// A PolicyError is what is wrong with one field of a policy.
type PolicyError struct {
	Key  string // of the field in a file, as "breaker.interval"
	Text string
}

func (e *PolicyError) Error() string { return e.Key + ": " + e.Text }

// Validate joins every complaint, each a [PolicyError].
func (p Policy) Validate() error {
	var errs []error
	refuse := func(key, format string, args ...any) {
		errs = append(errs, &PolicyError{key, fmt.Sprintf(format, args...)})
	}
	between := func(key string, d, least, most time.Duration) {
		if d != 0 && (d < least || d > most) {
			refuse(key, "%s; use %s to %s", d, least, most)
		}
	}
	between("per_try_timeout", p.PerTryTimeout, perTryLeast, time.Hour)
	between("backoff.base", p.Backoff.Base, time.Millisecond, spanMost)
	between("backoff.max", p.Backoff.Max, time.Millisecond, spanMost)
	between("breaker.interval", p.Breaker.Interval, time.Second, spanMost)
	between("breaker.base_ejection", p.Breaker.BaseEjection, time.Millisecond, spanMost)
	between("breaker.max_ejection", p.Breaker.MaxEjection, time.Millisecond, spanMost)
	between("fault.delay", p.Fault.Delay, time.Millisecond, delayMost)
	if p.Backoff.Max != 0 && p.Backoff.Max < p.Backoff.Base {
		refuse("backoff.max", "%s is less than base (%s); use at least that", p.Backoff.Max, p.Backoff.Base)
	}
	if p.Breaker.MaxEjection != 0 && p.Breaker.MaxEjection < p.Breaker.BaseEjection {
		refuse("breaker.max_ejection", "%s is less than base_ejection (%s); use at least that", p.Breaker.MaxEjection, p.Breaker.BaseEjection)
	}
	for _, n := range []struct {
		key     string
		n, most int
	}{{"max_requests", p.MaxRequests, countMost}, {"breaker.consecutive", p.Breaker.Consecutive, countMost}, {"breaker.max_ejection_percent", p.Breaker.MaxEjectionPercent, 100}} {
		if n.n < 0 || n.n > n.most {
			refuse(n.key, "%d; use 1 to %d, or leave it out", n.n, n.most)
		}
	}
	for _, n := range []struct {
		key string
		n   float64
	}{{"fault.delay_percent", p.Fault.DelayPercent}, {"fault.abort_percent", p.Fault.AbortPercent}} {
		if !(n.n >= 0 && n.n <= 100) { // NaN too
			refuse(n.key, "%v; use 0 to 100", n.n)
		}
	}
	if err := p.validateSplit(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Bounded returns the policy with what Validate would refuse brought to the nearest
// it takes: what other control planes write is theirs, and means what it can. A split
// over more than SplitMost stays, and is refused.
func (p Policy) Bounded() Policy {
	between := func(d *time.Duration, least, most time.Duration) {
		if *d != 0 {
			*d = min(max(*d, least), most)
		}
	}
	between(&p.PerTryTimeout, perTryLeast, time.Hour)
	between(&p.Backoff.Base, time.Millisecond, spanMost)
	between(&p.Backoff.Max, max(time.Millisecond, p.Backoff.Base), spanMost)
	between(&p.Breaker.Interval, time.Second, spanMost)
	between(&p.Breaker.BaseEjection, time.Millisecond, spanMost)
	between(&p.Breaker.MaxEjection, max(time.Millisecond, p.Breaker.BaseEjection), spanMost)
	between(&p.Fault.Delay, time.Millisecond, delayMost)
	p.MaxRequests = min(max(p.MaxRequests, 0), countMost)
	p.Breaker.Consecutive = min(max(p.Breaker.Consecutive, 0), countMost)
	p.Breaker.MaxEjectionPercent = min(max(p.Breaker.MaxEjectionPercent, 0), 100)
	p.Split = boundedSplit(p.Split)
	return p
}

// boundedSplit adds up the shares of one subset, and makes weights fit in their
// proportion: none that is something becomes nothing.
func boundedSplit(split []Share) (out []Share) {
	largest := 0
	for _, s := range split {
		i := slices.IndexFunc(out, func(o Share) bool { return o.Subset == s.Subset })
		if i < 0 {
			i = len(out)
			out = append(out, Share{Subset: s.Subset})
		}
		out[i].Weight += max(0, s.Weight)
		largest = max(largest, out[i].Weight)
	}
	if largest > countMost {
		for i := range out {
			if w := &out[i].Weight; *w > 0 {
				*w = max(1, int(float64(*w)/float64(largest)*countMost))
			}
		}
	}
	return out
}

func (p Policy) validateSplit() error {
	refuse := func(format string, args ...any) error {
		return &PolicyError{"split", fmt.Sprintf(format, args...)}
	}
	if len(p.Split) > SplitMost {
		return refuse("%d shares; use at most %d", len(p.Split), SplitMost)
	}
	total, seen := 0, map[string]bool{}
	for _, s := range p.Split {
		switch {
		case s.Weight < 0 || s.Weight > countMost:
			return refuse("subset %q has the weight %d; use 0 to %d", s.Subset, s.Weight, countMost)
		case seen[s.Subset]:
			return refuse("subset %q is listed twice", s.Subset)
		}
		total, seen[s.Subset] = total+s.Weight, true
	}
	if len(p.Split) > 0 && total == 0 {
		return refuse("every weight is 0; pause the destination, or leave the split out")
	}
	return nil
}
