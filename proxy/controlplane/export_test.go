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
