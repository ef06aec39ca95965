package kubelet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
)

// Client is one of HTTP whose connections are made in a network namespace. It resolves
// no names.
func Client(netns string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, netns, network, address)
		},
	}}
}

// dial makes a connection in a network namespace. A socket stays in that in which it
// was made, and to an address it is made by the thread that asks. The thread comes
// back: ended with its goroutine, it would take along every process it has started,
// which die with their parent.
func dial(ctx context.Context, netns, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err != nil || net.ParseIP(host) == nil {
		return nil, fmt.Errorf("%s is no address", address)
	}
	runtime.LockOSThread()
	back, err := open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer back.close()
	defer func() {
		if err := back.enter(); err != nil {
			panic(err) // everything this thread did from here on would be in the wrong place
		}
		runtime.UnlockOSThread()
	}()
	if err := enter(netns); err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}
