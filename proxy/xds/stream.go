package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"pannier/proxy/mesh"
)

// stream is one ADS stream of delta. Its loop alone sends.
type stream struct {
	server *server
	wire   grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
	asked  [len(kinds)]map[string]struct{} // names subscribed to; nil: the type was not asked for yet
	greets bool                            // the node was sent
	spoke  bool                            // a response came
}

// stream runs one stream until it breaks, or ctx ends, or the node changes.
func (s *server) stream(ctx context.Context, conn *grpc.ClientConn) (spoke bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Also a send that the server never takes ends with this.
	silence := time.AfterFunc(silentAfter, func() { cancel(errSilent) })
	defer silence.Stop()

	select {
	case <-s.reopen: // the node is read below
	default:
	}
	wire, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return false, because(ctx, err)
	}
	t := &stream{server: s, wire: wire}
	defer s.client.unask(t)
	responses, ended := t.receive(ctx)
	defer func() { // joins the reader
		cancel(nil)
		<-ended
	}()
	if err := t.subscribe(); err != nil {
		return false, because(ctx, err)
	}
	var gather <-chan time.Time
	for {
		select {
		case r, open := <-responses:
			if !open {
				return t.spoke, because(ctx, <-ended)
			}
			silence.Stop()
			if err := t.answer(r); err != nil {
				return t.spoke, because(ctx, err)
			}
		case <-s.names:
			if gather == nil {
				gather = time.After(coalesceFor)
			}
		case <-gather:
			gather = nil
			if err := t.subscribe(); err != nil {
				return t.spoke, because(ctx, err)
			}
		case <-s.reopen:
			return t.spoke, errReopen
		}
	}
}

// because prefers why we ended a stream over what gRPC makes of it.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// receive reads until the stream ends. Then responses is closed and ended has
// the reason.
func (t *stream) receive(ctx context.Context) (<-chan *discoveryv3.DeltaDiscoveryResponse, <-chan error) {
	responses, ended := make(chan *discoveryv3.DeltaDiscoveryResponse), make(chan error, 1)
	go func() {
		defer close(ended)
		defer close(responses)
		for {
			r, err := t.wire.Recv()
			if errors.Is(err, io.EOF) {
				err = errClosed
			}
			if err != nil {
				ended <- err
				return
			}
			select {
			case responses <- r:
			case <-ctx.Done():
				ended <- ctx.Err()
				return
			}
		}
	}()
	return responses, ended
}

// send adds the node to the first request.
func (t *stream) send(r *discoveryv3.DeltaDiscoveryRequest) error {
	if !t.greets {
		r.Node, t.greets = t.server.client.nodeProto(), true
	}
	if err := t.wire.Send(r); !errors.Is(err, io.EOF) {
		return err
	}
	return nil // the stream is at its end, and its reader has the reason
}

// subscribe asks for what is wanted and was not asked for, and lets go of what is
// no longer. The first request of a type says which versions are known.
func (t *stream) subscribe() error {
	for i := range kinds {
		r := t.server.client.names(t, i, time.Now())
		if r == nil {
			continue
		}
		if err := t.send(r); err != nil {
			return err
		}
	}
	return nil
}

// answer takes a response in and acknowledges it, or says what of it was refused.
// What was good in it is in force either way.
func (t *stream) answer(r *discoveryv3.DeltaDiscoveryResponse) error {
	if !t.spoke {
		t.greeted()
	}
	i := indexOf(r.GetTypeUrl())
	if i < 0 || t.asked[i] == nil {
		// An acknowledgment would be the first request of its type, which asks for
		// everything there is.
		t.server.client.strange(t, r)
		return nil
	}
	refused := t.server.client.apply(t, i, r, time.Now())
	ack := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}
	if len(refused) > 0 {
		ack.ErrorDetail = &status.Status{Code: int32(codes.InvalidArgument), Message: join(refused)}
	}
	return t.send(ack)
}

// maxRefused bounds how many refused resources one NACK names.
const maxRefused = 16

func join(refused []string) string {
	if n := len(refused) - maxRefused; n > 0 {
		refused = append(slices.Clone(refused[:maxRefused]), fmt.Sprintf("and %d more", n))
	}
	return strings.Join(refused, "; ")
}

// greeted reads what the server made of the node, which it says before its first
// response.
func (t *stream) greeted() {
	header, err := t.wire.Header()
	if err != nil {
		return // the stream is at its end, and its reader has the reason
	}
	refused := short(strings.Join(header.Get(mesh.HeaderRefused), "; "))
	c, s := t.server.client, t.server
	c.mu.Lock()
	defer c.mu.Unlock()
	if refused != "" && refused != s.mu.refused {
		c.log.Error("the control plane does not announce this sidecar as it asks to be: others may not find it", "peer", s.address, "err", refused)
	}
	s.mu.refused = refused
}
