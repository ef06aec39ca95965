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
func (o *Options) MaxNodeBytes(n int) {
	o.limits = newLimits()
	o.limits.nodeBytes = n
}
