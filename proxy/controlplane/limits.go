package controlplane

import "sync/atomic"

// limits are how much clients can make this process keep. What is beyond one is
// refused with a text that names it, and counted.
type limits struct {
	// nodeBytes is the longest node that is read: 1,000 agents (maxNodeAgents) of the
	// longest addresses are 390 KB.
	nodeBytes int

	reached [limitKinds]atomic.Uint64 // how often
}

func newLimits() *limits {
	return &limits{nodeBytes: 512 << 10}
}

// limit names one, for the metric.
type limit int

const (
	limitStreams limit = iota
	limitTypes
	limitNode

	limitKinds
)

var limitNames = [limitKinds]string{
	limitStreams: "streams", limitTypes: "types", limitNode: "node",
}

func (l *limits) hit(which limit) { l.reached[which].Add(1) }
