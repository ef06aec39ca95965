// Package mesh is what the two ends of discovery agree on: how an agent is
// called in xDS, which resources say what of it, and how its traffic policy is
// written in Envoy's own fields. The control plane builds resources with it, the
// sidecar reads them.
//
//	Service ──Build──▶ Listener, RouteConfiguration, Cluster, ClusterLoadAssignment ──Read──▶ Service
//
// A policy is also read from YAML, with line and column: of a sidecar's files and of
// those of a control plane (ReadPolicy, ReadPolicies, ReadEndpoint). Both readers end
// in one type, outbound.Policy, and both to its bounds: a file beyond them is refused,
// a resource brought to them.
//
// Resources are held to the rules that stand in Envoy's protos (proxy/mesh/rules) before
// they are served, and before they are used.
//
// Node is what a sidecar says of itself when it asks; Switches are what operators switch
// for all at once. It holds no state and knows no stream.
package mesh
