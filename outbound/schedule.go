package outbound

import "time"

// The pauses of this package, as pure functions: r is uniform in [0,1).

// pause is how long to wait after the n-th failure in a row, n from 1: it
// doubles from min up to max, and is spread by half to either side so that the
// peers of a sidecar that comes back do not all call in the same moment. It is
// never near zero: a pause that can be is no pause.
func pause(n int, min, max time.Duration, r float64) time.Duration {
	return time.Duration(float64(doubled(n, min, max)) * (0.5 + r))
}

// doubled is min, doubled with each failure after the first, up to max.
func doubled(n int, min, max time.Duration) time.Duration {
	if n < 1 {
		n = 1
	}
	if shift := n - 1; shift < 30 && min<<shift > 0 && min<<shift < max {
		return min << shift
	}
	return max
}

// jittered is the pause a policy asks for after the n-th failure in a row: full
// jitter, as Envoy's back-off has it, but for a floor.
func jittered(n int, b Backoff, r float64) time.Duration {
	ceiling := doubled(n, b.Base, b.Max)
	floor := min(retryMin, ceiling)
	return floor + time.Duration(r*float64(ceiling-floor))
}

// ejection is how long a breaker stays open the n-th time in a row by a policy:
// n times base up to max, as Envoy's outlier detection has it, spread upwards by
// a fifth so that the homes of an endpoint do not all try it in the same moment.
func ejection(n int, base, max time.Duration, r float64) time.Duration {
	d := max
	if time.Duration(n) < max/base {
		d = time.Duration(n) * base
	}
	return d + time.Duration(float64(d)*0.2*r)
}

const (
	retryMin = 50 * time.Millisecond
	retryCap = 10 * time.Minute
)

// holdOff is how long an endpoint is left alone after the n-th refusal in a
// row. What it asked for is honoured, up to ten minutes, and spread upwards by a
// fifth; where it asked for nothing the pause grows as after failures.
func holdOff(asked time.Duration, n int, min, max time.Duration, r float64) time.Duration {
	if asked <= 0 {
		return pause(n, min, max, r)
	}
	if asked < retryMin {
		asked = retryMin
	}
	if asked > retryCap {
		asked = retryCap
	}
	return asked + time.Duration(float64(asked)*0.2*r)
}
