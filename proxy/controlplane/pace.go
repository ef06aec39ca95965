package controlplane

import (
	"context"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// bytesOfRequest and requestsOfNode are what a long request, and a node that says
	// something new, count for: at 200 a second, 800 KB of requests or four nodes.
	bytesOfRequest = 4 << 10
	requestsOfNode = 50
)

// pace waits until there is room for what counts as so many requests of a stream, or
// the stream ends. It is called in the stream's own loop: a client that sends too much
// is held up by the flow control of its stream, and nobody else is.
type pace func(requests int) error

// newPace lets through what limits say; slow is called when it makes the client wait.
func newPace(ctx context.Context, l *limits, slow func()) pace {
	limiter := rate.NewLimiter(rate.Limit(l.perSecond), l.atOnce)
	return func(requests int) error {
		requests = min(requests, l.atOnce)
		if limiter.AllowN(time.Now(), requests) {
			return nil
		}
		l.hit(limitRequests)
		slow()
		if err := limiter.WaitN(ctx, requests); err != nil {
			return status.Errorf(codes.ResourceExhausted, "requests come faster than %d a second: %v", l.perSecond, err)
		}
		return nil
	}
}
