package controlplane

import (
	"sync"
	"sync/atomic"

	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// limits are how much clients can make this process keep. What is beyond one is
// refused with a text that names it, and counted.
type limits struct {
	// nodeBytes is the longest node that is read: 1,000 agents (maxNodeAgents) of the
	// longest addresses are 390 KB.
	nodeBytes int
	// agents is how many all sidecars may announce together, each counted for each of
	// them: five for each of 10,000 sidecars. All of them take 200 MB.
	agents int
	// typeBytes is what the names and versions of one type on one stream may take, as
	// costOf counts them. The 20,000 agents that a sidecar of ours knows at most take
	// 10 MB.
	typeBytes int
	// allBytes is what those of all streams may: ten thousand sidecars that send to 65
	// agents each, or 650 that send to 1,000.
	allBytes int

	// perSecond and atOnce are how fast the requests of one stream are read. A stream of
	// ours begins with a dozen, asks for new names every 15 ms at most, and answers
	// responses, of which there are 20 a second for each of six types.
	perSecond, atOnce int

	kept    atomic.Int64              // of allBytes
	reached [limitKinds]atomic.Uint64 // how often
}

func newLimits() *limits {
	return &limits{
		nodeBytes: 512 << 10, agents: 50_000,
		typeBytes: 16 << 20, allBytes: 1 << 30,
		perSecond: 200, atOnce: 1000,
	}
}

// limit names one, for the metric.
type limit int

const (
	limitStreams limit = iota
	limitTypes
	limitNode
	limitSidecars
	limitAgents
	limitNames
	limitAllNames
	limitRequests

	limitKinds
)

var limitWords = [limitKinds]string{
	limitStreams: "streams", limitTypes: "types", limitNode: "node", limitSidecars: "sidecars", limitAgents: "agents",
	limitNames: "names", limitAllNames: "all_names", limitRequests: "requests",
}

func (l *limits) hit(which limit) { l.reached[which].Add(1) }

const (
	// costOfName is what a name subscribed to takes beside its bytes: a place in the
	// subscription, and one in its cache, which for a name nobody else asks for is a
	// map of its own.
	costOfName = 256
	// costOfVersion is what it takes to know what a client has of one resource.
	costOfVersion = 128
	// sizeOfVersion is that of a name and a version of ours.
	sizeOfVersion = 64
)

// costOf is about how many bytes are kept for a subscription while it lasts. To a
// wildcard everything there is will be sent.
func costOf(sub cache.Subscription, resources int) (names, bytes int) {
	for name := range sub.SubscribedResources() {
		bytes += len(name) + costOfName
	}
	versions := 0
	for name, version := range sub.ReturnedResources() {
		versions += len(name) + len(version) + costOfVersion
	}
	if sub.IsWildcard() {
		versions = max(versions, resources*(sizeOfVersion+costOfVersion))
	}
	return len(sub.SubscribedResources()) + len(sub.ReturnedResources()), bytes + versions
}

// keep counts a subscription, until it is released: when its stream ends or asks
// again. One that is too much ends its stream, and what that took is free again.
func (l *limits) keep(typeURL string, sub cache.Subscription, resources int) (release func(), err error) {
	names, bytes := costOf(sub, resources)
	if bytes > l.typeBytes {
		l.hit(limitNames)
		return nil, status.Errorf(codes.ResourceExhausted, "%s: %d names and versions take %d bytes, at most %d for one type of a stream; subscribe to fewer", typeURL, names, bytes, l.typeBytes)
	}
	if l.kept.Add(int64(bytes)) > int64(l.allBytes) {
		l.kept.Add(-int64(bytes))
		l.hit(limitAllNames)
		return nil, status.Errorf(codes.ResourceExhausted, "%s: the names and versions of all clients take %d bytes, no more are taken; subscribe to fewer, or run another control plane beside this one", typeURL, l.allBytes)
	}
	return sync.OnceFunc(func() { l.kept.Add(-int64(bytes)) }), nil
}
