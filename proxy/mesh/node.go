package mesh

import (
	"slices"

	"google.golang.org/protobuf/types/known/structpb"
)

// Node is what a sidecar says of itself in the metadata of its
// envoy.config.core.v3.Node. A control plane may announce it from that alone.
type Node struct {
	Agents   []string // what it serves
	Peer     string   // HOST:PORT of its peer listener
	Journal  string   // the id of its journal
	Draining bool     // it takes nothing new
}

// HeaderRefused is the header of a stream of ours in which a control plane says why
// it does not announce the node as it asks to be. Its value is text for people.
// Clients of other kinds do not look at it.
const HeaderRefused = "pannier-not-announced-bin"

// Metadata is the node's metadata: one namespace of ours, as in filter_metadata.
func (n Node) Metadata() *structpb.Struct {
	agents := make([]*structpb.Value, len(n.Agents))
	for i, a := range n.Agents {
		agents[i] = structpb.NewStringValue(a)
	}
	ours := &structpb.Struct{Fields: map[string]*structpb.Value{
		FieldAgents:   structpb.NewListValue(&structpb.ListValue{Values: agents}),
		FieldPeer:     structpb.NewStringValue(n.Peer),
		FieldJournal:  structpb.NewStringValue(n.Journal),
		FieldDraining: structpb.NewBoolValue(n.Draining),
	}}
	return &structpb.Struct{Fields: map[string]*structpb.Value{Metadata: structpb.NewStructValue(ours)}}
}

// ReadNode reads what Metadata wrote; known is false for the metadata of
// another program. It trusts nothing: who may speak for which agent is decided
// elsewhere.
func ReadNode(metadata *structpb.Struct) (n Node, known bool) {
	ours := metadata.GetFields()[Metadata].GetStructValue()
	if ours == nil {
		return Node{}, false
	}
	for _, v := range ours.GetFields()[FieldAgents].GetListValue().GetValues() {
		if a := v.GetStringValue(); a != "" {
			n.Agents = append(n.Agents, a)
		}
	}
	n.Peer = ours.GetFields()[FieldPeer].GetStringValue()
	n.Journal = ours.GetFields()[FieldJournal].GetStringValue()
	n.Draining = ours.GetFields()[FieldDraining].GetBoolValue()
	return n, true
}

// Equal reports whether two nodes say the same.
func (n Node) Equal(other Node) bool {
	return slices.Equal(n.Agents, other.Agents) && n.Peer == other.Peer && n.Journal == other.Journal && n.Draining == other.Draining
}
