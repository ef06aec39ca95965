package xds

import "time"

const (
	pauseBase   = time.Second
	pauseFactor = 1.6
	pauseMax    = 30 * time.Second
)

// pause is how long to wait after the n-th stream in a row, from 1, that ended:
// full jitter, so that those who lost a server do not come back together. random
// is from [0, 1).
func pause(n int, random float64) time.Duration {
	ceiling := float64(pauseBase)
	for range n - 1 {
		if ceiling *= pauseFactor; ceiling >= float64(pauseMax) {
			ceiling = float64(pauseMax)
			break
		}
	}
	return time.Duration(random * ceiling)
}
