package controlplane

import (
	"context"
	"net"

	"pannier/proxy/mesh"
)

// Merge is what several sources say together, the most believed first.
func Merge(updates []Update) map[string]mesh.Service {
	var all []*Update
	for _, u := range updates {
		all = append(all, &u)
	}
	return merge(all).services
}

// MaxNodeBytes sets the limit of that name.
func (o *Options) MaxNodeBytes(n int) { o.limit().nodeBytes = n }

// MaxAgents sets how many agents all sidecars may announce.
func (o *Options) MaxAgents(n int) { o.limit().agents = n }

// MaxNames sets what names and versions may take: of one type of a stream, and of
// all streams.
func (o *Options) MaxNames(typeBytes, allBytes int) {
	o.limit().typeBytes, o.limit().allBytes = typeBytes, allBytes
}

// MaxRequests sets how fast requests are read.
func (o *Options) MaxRequests(perSecond, atOnce int) {
	o.limit().perSecond, o.limit().atOnce = perSecond, atOnce
}

// NewPace is that of a stream by default.
func NewPace(ctx context.Context, slow func()) func(requests int) error {
	return newPace(ctx, newLimits(), slow)
}

func (o *Options) limit() *limits {
	if o.limits == nil {
		o.limits = newLimits()
	}
	return o.limits
}

// SettleNow says that things have settled.
func (c *ControlPlane) SettleNow() { c.settle() }

// Listen opens the listeners of a process that may open so many files.
func (c *ControlPlane) Listen(files uint64) (all []net.Listener, err error) {
	l, err := c.listen(files)
	return []net.Listener{l.xds, l.admin, l.health}, err
}
