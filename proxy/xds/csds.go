package xds

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"pannier/proxy/xds/csds"
)

// ClientStatusService is the path under which HTTP/2 carries the client status
// discovery service.
const ClientStatusService = "/" + csds.Service + "/"

const (
	// maxStatusRequest bounds a question of it. What may be long of one, the matchers, is
	// not taken.
	maxStatusRequest = 64 << 10
	// maxStatusContents bounds the resources in an answer: a sidecar that knows more than
	// a tool can show should not double its memory for it.
	maxStatusContents = 16 << 20
	// maxStatusAtOnce bounds the answers that are on their way to a reader, and the
	// streams that may want one.
	maxStatusAtOnce = 4
)

// clientStatus is the client status discovery service (CSDS), by which tools ask
// clients of xDS, whoever wrote them, what they have.
type clientStatus struct {
	csds.UnimplementedClientStatusServer
	client *Client
}

// StatusServer is a server of gRPC that listens to nothing: its requests come as those
// of an HTTP server, by HTTP/2.
type StatusServer struct {
	rpc   *grpc.Server
	turns chan struct{}
}

// NewStatusServer serves CSDS for a client; nil is a sidecar that asks no control
// plane.
func NewStatusServer(c *Client) *StatusServer {
	s := &StatusServer{rpc: grpc.NewServer(grpc.MaxRecvMsgSize(maxStatusRequest)), turns: make(chan struct{}, maxStatusAtOnce)}
	csds.Register(s.rpc, clientStatus{client: c})
	return s
}

// ServeHTTP returns when the answer has been taken, or the stream has ended.
func (s *StatusServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
		s.rpc.ServeHTTP(w, r)
	default:
		// A status without a message, as gRPC over HTTP/2 writes it.
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", strconv.Itoa(int(codes.ResourceExhausted)))
		w.Header().Set("Grpc-Message", strconv.Itoa(maxStatusAtOnce)+" others ask for the client status just now")
	}
}

// Stop ends all streams.
func (s *StatusServer) Stop() { s.rpc.Stop() }

// FetchClientStatus answers one question.
func (s clientStatus) FetchClientStatus(_ context.Context, r *csds.Request) (*csds.Response, error) {
	// They tell apart the clients of a server; here is one. So says gRPC's A40.
	if len(r.GetNodeMatchers()) > 0 {
		return nil, status.Error(codes.InvalidArgument, "node_matchers: this sidecar tells of itself alone; leave them out")
	}
	if s.client == nil {
		return &csds.Response{}, nil
	}
	config, err := s.client.config(!r.GetExcludeResourceContents())
	if err != nil {
		return nil, err
	}
	return &csds.Response{Config: []*csds.Client{config}}, nil
}

// StreamClientStatus answers one question after the other.
func (s clientStatus) StreamClientStatus(stream csds.ClientStatus_StreamClientStatusServer) error {
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
func (c *Client) config(contents bool) (*csds.Client, error) {
	node, err := proto.Marshal(c.nodeProto())
	if err != nil {
		return nil, status.Errorf(codes.Internal, "the node: %v", err)
	}
	out, size := &csds.Client{Node: node}, 0
	for _, r := range c.snapshot() {
		one := r.config(contents)
		if size += len(one.GetXdsConfig().GetValue()); size > maxStatusContents {
			return nil, status.Errorf(codes.ResourceExhausted, "the resources have more than %d bytes: exclude_resource_contents leaves them out", maxStatusContents)
		}
		out.GenericXdsConfigs = append(out.GenericXdsConfigs, one)
	}
	return out, nil
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
func (r *resource) config(contents bool) *csds.Resource {
	state := r.state(false)
	if state == Stale {
		state = Acked
	}
	out := &csds.Resource{
		TypeUrl: kinds[r.kind].url, Name: r.name,
		ClientStatus: csds.State(csds.State_value[state]),
	}
	if r.value != nil {
		out.VersionInfo, out.LastUpdated = r.version, csds.At(r.received)
		if contents {
			value := packed(r.value)
			out.XdsConfig = &csds.Any{TypeUrl: value.GetTypeUrl(), Value: value.GetValue()}
		}
	}
	if r.reason != "" {
		out.ErrorState = &csds.Failure{Details: r.reason, VersionInfo: r.refused, LastUpdateAttempt: csds.At(r.refuseAt)}
	}
	return out
}

// packed wraps a value for the wire, or for the file.
func packed(m proto.Message) *anypb.Any {
	value, err := anypb.New(m)
	if err != nil {
		panic(err) // it was unmarshaled before
	}
	return value
}
