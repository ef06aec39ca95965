// Package kubernetes is a source of a control plane: where agents live, as the
// Services and EndpointSlices of a cluster say.
//
//	Namespaces ─────┐ org, env
//	Services ───────┼─▶ claims: who has which address ──┐
//	                │      └─▶ refused: Event, log      ├─▶ Update ─▶ proxy/controlplane
//	EndpointSlices ─┴─▶ replicas: address, zone, health ┘
//
//	a sidecar's token ─▶ TokenReview ─▶ namespace, service account ─▶ which agents it may register
//
// Only cmd/pannier-control imports it: a sidecar never links k8s.io.
//
// # What a cluster says
//
//   - A Service is of the mesh with the label pannier.io/mesh=enabled, which the
//     EndpointSlice controller copies to its slices. The API server is asked for
//     those only.
//   - Its agent is agent://ORG/ENV/NAME. ORG and ENV are the annotations
//     pannier.io/org and pannier.io/env of the Namespace, which admins write; NAME
//     is the Service's annotation pannier.io/agent-name, or its own name. A whole
//     address in pannier.io/agent counts where it agrees with that.
//   - Of several Services that ask for one address the oldest has it, then the one
//     whose namespace and name come first.
//   - Sidecars listen at the port named pannier-peer, or of the appProtocol
//     pannier.io/peer.
//   - A pod that terminates drains; one that is ready is healthy; any other is not.
//     The zone is that of its node. A Service without endpoints says that its agent
//     is nowhere.
//
// The peer Service must not have publishNotReadyAddresses: others take its pods for
// ready that are not.
//
// # What holds
//
//   - Nothing is said before every informer has synced: a part of the world would be
//     taken for the whole.
//   - While the API server is away, or refuses, what it said last stays, and the page
//     for operators says why.
//   - An address goes to no Service, and to no sidecar with a token, whose Namespace
//     has no part in it.
//   - A sidecar whose token could not be reviewed, or whose Namespace lacked its
//     annotations, is judged again within seconds of when that has changed.
//   - Sidecars that register add to what slices say: their journal and their own
//     draining, and agents that no Service has; never an endpoint to an agent that
//     one has (proxy/controlplane merges in the order of belief).
//   - A refused Service is told why by one Event, whatever number of replicas of the
//     control plane there are, when the refusal has stood for 2 s.
//   - At most 10,000 agents, 1,000 replicas of each, 64 namespaces that are watched
//     one by one, and 1,000 refusals that are told of.
//
// # Crash behaviour
//
// There is no state. A new start lists everything, and is ready when it has.
//
// # Rights
//
// [Rules] is all that is ever asked of the API server; a test holds what is asked
// for against it. With namespaces given, services, endpointslices and events are
// asked for in those only.
//
// # What it does not do
//
// It reads no pods, no nodes (so it knows no region) and no resources of its own
// kind, and writes nothing but Events: no policy comes from a cluster. It has not
// been run against a real API server, only against client-go's fakes behind HTTP
// (kubetest).
package kubernetes

// A Rule is a rule of a Role, in its words.
type Rule struct {
	Group     string // empty: core
	Resources []string
	Verbs     []string
}

// Rules are the least rights a control plane needs, the one list of them. A list
// that is streamed by a watch needs no list; servers that cannot do that do.
var Rules = []Rule{
	{Group: "", Resources: []string{"services", "namespaces"}, Verbs: []string{"list", "watch"}},
	{Group: "discovery.k8s.io", Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}},
	{Group: "", Resources: []string{"events"}, Verbs: []string{"create"}},
	{Group: "authentication.k8s.io", Resources: []string{"tokenreviews"}, Verbs: []string{"create"}}, // with --token-review only
}
