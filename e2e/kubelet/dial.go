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

// dial makes a connection in a network namespace.
func dial(ctx context.Context, netns, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err != nil || net.ParseIP(host) == nil {
		return nil, fmt.Errorf("%s is no address", address)
	}
	var conn net.Conn
	err := within(netns, func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens in a network namespace.
func Listen(netns, address string) (net.Listener, error) {
	var l net.Listener
	err := within(netns, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l, err
}

// within makes sockets in a network namespace: where one was made it stays, and to or at
// an address it is made by the thread that asks. The thread comes back: ended with its
// goroutine, it would take along every process it has started, which die with their parent.
func within(netns string, do func() error) error {
	runtime.LockOSThread()
	back, err := open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer back.close()
	defer func() {
		if err := back.enter(); err != nil {
			panic(err) // everything this thread did from here on would be in the wrong place
		}
		runtime.UnlockOSThread()
	}()
	if err := enter(netns); err != nil {
		return err
	}
	return do()
}
