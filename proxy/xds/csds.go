package xds

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// ClientStatusService is the path under which HTTP/2 carries the client status
// discovery service.
const ClientStatusService = "/envoy.service.status.v3.ClientStatusDiscoveryService/"

// maxStatusRequest bounds a question of it. What may be long of one, the matchers, is
// not taken.
const maxStatusRequest = 64 << 10

// clientStatus is the client status discovery service (CSDS), by which tools ask
// clients of xDS, whoever wrote them, what they have.
type clientStatus struct {
	statusv3.UnimplementedClientStatusDiscoveryServiceServer
	client *Client
}

// NewStatusServer serves CSDS for a client; nil is a sidecar that asks no control
// plane. It listens to nothing: requests come through its ServeHTTP. Stop ends its
// streams.
func NewStatusServer(c *Client) *grpc.Server {
	s := grpc.NewServer(grpc.MaxRecvMsgSize(maxStatusRequest))
	statusv3.RegisterClientStatusDiscoveryServiceServer(s, clientStatus{client: c})
	return s
}

// FetchClientStatus answers one question.
func (s clientStatus) FetchClientStatus(_ context.Context, r *statusv3.ClientStatusRequest) (*statusv3.ClientStatusResponse, error) {
	// They tell apart the clients of a server; here is one. So says gRPC's A40.
	if len(r.GetNodeMatchers()) > 0 {
		return nil, status.Error(codes.InvalidArgument, "node_matchers: this sidecar tells of itself alone; leave them out")
	}
	if s.client == nil {
		return &statusv3.ClientStatusResponse{}, nil
	}
	return &statusv3.ClientStatusResponse{Config: []*statusv3.ClientConfig{s.client.config(!r.GetExcludeResourceContents())}}, nil
}

// StreamClientStatus answers one question after the other.
func (s clientStatus) StreamClientStatus(stream statusv3.ClientStatusDiscoveryService_StreamClientStatusServer) error {
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer, err := s.FetchClientStatus(stream.Context(), r)
		if err != nil {
			return err
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

// config describes all there is; contents are the resources themselves. They are
// encoded while nobody waits: a value is never changed, only replaced.
func (c *Client) config(contents bool) *statusv3.ClientConfig {
	out := &statusv3.ClientConfig{Node: c.nodeProto()}
	for _, r := range c.snapshot() {
		out.GenericXdsConfigs = append(out.GenericXdsConfigs, r.config(contents))
	}
	return out
}

// snapshot copies all resources, by type and name.
func (c *Client) snapshot() (all []resource) {
	c.mu.Lock()
	for _, byName := range c.mu.resources {
		for _, r := range byName {
			all = append(all, *r)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b resource) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name)) })
	return all
}

// config is how CSDS calls what is known of a resource. It has no word for one that
// is stale: what was acknowledged and is in force is ACKED, whoever is away.
func (r *resource) config(contents bool) *statusv3.ClientConfig_GenericXdsConfig {
	state := r.state(false)
	if state == Stale {
		state = Acked
	}
	out := &statusv3.ClientConfig_GenericXdsConfig{
		TypeUrl: kinds[r.kind].url, Name: r.name,
		ClientStatus: adminv3.ClientResourceStatus(adminv3.ClientResourceStatus_value[state]),
	}
	if r.value != nil {
		out.VersionInfo, out.LastUpdated = r.version, timestamppb.New(r.received)
		if contents {
			out.XdsConfig = packed(r.value)
		}
	}
	if r.reason != "" {
		out.ErrorState = &adminv3.UpdateFailureState{Details: r.reason, VersionInfo: r.refused, LastUpdateAttempt: timestamppb.New(r.refuseAt)}
	}
	return out
}

// packed wraps a value for the wire, or for the file.
func packed(m message) *anypb.Any {
	value, err := anypb.New(m)
	if err != nil {
		panic(err) // it was unmarshaled before
	}
	return value
}
