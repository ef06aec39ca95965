package controlplane

import "pannier/proxy/mesh"

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

func (o *Options) limit() *limits {
	if o.limits == nil {
		o.limits = newLimits()
	}
	return o.limits
}
