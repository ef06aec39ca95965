package mesh

import "pannier/outbound"

// Service is an agent as the mesh knows it: where its replicas are, and the
// policy of the traffic to it.
type Service struct {
	Agent     string
	Endpoints []outbound.Endpoint
	Policy    outbound.Policy
	// Hints are what else is known of an endpoint, by its address. Nothing
	// depends on them.
	Hints map[string]Hint
}

// Hint is what is known of an endpoint and decides nothing.
type Hint struct {
	Region  string
	Journal string // what it last said; its hello decides
	Pod     string // NAMESPACE/NAME of the pod it is in
}

const (
	// Metadata is the namespace of ours in the filter_metadata of clusters,
	// endpoints and nodes.
	Metadata = "pannier"

	// Fields of it. On a cluster: the agent's address. On an endpoint: its journal's
	// id and its pod. On a node: what it serves, where its peer listener is, its journal's id,
	// and whether it drains.
	FieldAgent    = "agent"
	FieldAgents   = "agents"
	FieldPeer     = "peer"
	FieldJournal  = "journal_id"
	FieldPod      = "pod"
	FieldDraining = "draining"

	// Runtime is the name of the RTDS layer with the switches, and their keys. A
	// destination's switch has its key in the middle.
	Runtime                 = "pannier"
	SwitchOutbound          = "pannier.outbound.paused"
	SwitchDestinationPrefix = "pannier.destination."
	SwitchDestinationSuffix = ".paused"
)
