package outbound

import "time"

// The pauses of this package, as pure functions: r is uniform in [0,1).

// pause is how long to wait after the n-th failure in a row, n from 1: it
// doubles from min up to max, and is spread by half to either side so that the
// peers of a sidecar that comes back do not all call in the same moment. It is
// never near zero: a pause that can be is no pause.
func pause(n int, min, max time.Duration, r float64) time.Duration {
	d := max
	if n < 1 {
		n = 1
	}
	if shift := n - 1; shift < 30 && min<<shift > 0 && min<<shift < max {
		d = min << shift
	}
	return time.Duration(float64(d) * (0.5 + r))
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
