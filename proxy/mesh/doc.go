// Package mesh is what the two ends of discovery agree on: how an agent is
// called in xDS, which resources say what of it, and how its traffic policy is
// written in Envoy's own fields. The control plane builds resources with it, the
// sidecar reads them.
//
//	Service ──Build──▶ Listener, RouteConfiguration, Cluster, ClusterLoadAssignment ──Read──▶ Service
//
// It holds no state and knows no stream.
package mesh
