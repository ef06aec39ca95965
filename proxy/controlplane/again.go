package controlplane

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"
)

// What a client may announce is judged when it says its node, and it says that once
// on a stream of half an hour. Meanwhile the API server that could not be asked about
// its token answers again, a namespace gets the annotations it lacked, a key is taken
// from it. So a client that would be judged otherwise now is asked to come again: its
// stream ends well, as streams do, and on the next one all is judged anew.

// judgeMost bounds how long one look at all clients asks others who they are; the
// rest is looked at the next time.
const judgeMost = 10 * time.Second

// judge looks again and again for clients that would be judged otherwise, until ctx
// ends.
func (s *streams) judge(ctx context.Context, every time.Duration) error {
	if s.registration == nil {
		return nil
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		began := time.Now()
		for _, j := range s.judged() {
			if ctx.Err() != nil || time.Since(began) > judgeMost {
				break
			}
			if s.registration.otherwise(j) {
				s.log.Info("client is asked to come again: it may announce more now, or less", "node", j.node, "identity", j.who.name)
				j.who.end()
			}
		}
	}
}

// judgement is what was made of a client.
type judgement struct {
	stream streamKey
	who    announcer
	node   string
	still  func() error // why it is not announced as it asks to be; nil: it is
}

// judged are the clients of which something was made, in no order.
func (s *streams) judged() (all []judgement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, st := range s.mu.open {
		if st.node != nil && (st.who.Announcer != nil || st.who.err != nil) {
			all = append(all, judgement{key, st.who, st.Node, st.lacks})
		}
	}
	return all
}

// otherwise reports whether something else would be made of a client now.
func (r *Registration) otherwise(j judgement) bool {
	if j.who.err != nil {
		return j.still != nil && j.who.again() == nil
	}
	if j.still != nil && j.still() == nil {
		return true
	}
	node, here := r.announcedBy(j.stream, sidecarKey{j.who.name, j.node})
	if !here {
		return false
	}
	if resident, ok := j.who.Announcer.(Resident); ok && resident.At(node.Peer) != nil {
		return true
	}
	for _, agent := range node.Agents {
		if j.who.mayAnnounce(agent) != nil {
			return true
		}
	}
	return false
}

// endable is a stream that can be ended from outside, and then ends well.
type endable struct {
	grpc.ServerStream
	ctx context.Context
}

// endKey is what ends a stream, in its context.
type endKey struct{}

// endable makes streams such ones.
func (s *streams) endable(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ctx, end := context.WithCancel(stream.Context())
	defer end()
	return handle(srv, endable{stream, context.WithValue(ctx, endKey{}, end)})
}

// Context is the stream's, and has its end.
func (e endable) Context() context.Context { return e.ctx }

// RecvMsg is at the end of the stream when that was ended from outside. The read that
// is then under way ends with the stream, and m is nobody's.
func (e endable) RecvMsg(m any) error {
	read := make(chan error, 1)
	go func() { read <- e.ServerStream.RecvMsg(m) }()
	select {
	case err := <-read:
		return err
	case <-e.ctx.Done():
		return io.EOF
	}
}

// endOf is what ends the stream of a context.
func endOf(ctx context.Context) func() {
	if end, ok := ctx.Value(endKey{}).(context.CancelFunc); ok {
		return end
	}
	return func() {}
}
