package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// errOffLoopback is what a dial ends with that would have left the machine.
var errOffLoopback = errors.New("it is not on loopback; name its host in http_remote if that is meant")

// CheckURL says what is wrong with the URL of an app. It must be http or https,
// with a host; whether that is on loopback shows when it is dialed.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return fmt.Errorf("%.80q is not a URL", raw)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%.80q is not an http:// or https:// URL", raw)
	case u.Hostname() == "":
		return fmt.Errorf("%.80q has no host", raw)
	case u.User != nil:
		return errors.New("a URL with a password is not taken: requests are signed")
	case u.Fragment != "":
		return fmt.Errorf("%.80q has a fragment, which is never sent", raw)
	}
	return nil
}

// CheckCallback says what is wrong with a URL that events are to be sent to. What
// is not on loopback, or not sure to be before it is looked up, must be named in
// remote.
func CheckCallback(raw string, remote []string) error {
	if err := CheckURL(raw); err != nil {
		return err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost") {
		return nil
	}
	if slices.ContainsFunc(remote, func(one string) bool { return strings.EqualFold(one, host) }) {
		return nil
	}
	return errOffLoopback
}

// newClient calls one app: no proxy, no redirects, and no address but loopback
// unless the host of its URL was named. The check is made on the address that is
// dialed, so that no name can be made to mean another.
func newClient(target string, o *Options) *http.Client {
	remote := false
	if u, err := url.Parse(target); err == nil {
		remote = slices.ContainsFunc(o.HTTPRemote, func(host string) bool { return strings.EqualFold(host, u.Hostname()) })
	}
	dialer := &net.Dialer{
		Timeout: dialTime,
		Control: func(_, address string, _ syscall.RawConn) error {
			if remote {
				return nil
			}
			ip, err := netip.ParseAddrPort(address)
			if err != nil || !ip.Addr().Unmap().IsLoopback() {
				return errOffLoopback
			}
			return nil
		},
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         o.Dial.With(dialer),
			TLSHandshakeTimeout: dialTime,
			MaxIdleConnsPerHost: o.HTTPConcurrency,
			// Shorter than what servers keep an idle connection for: a request on
			// one that is just being closed would count as cut off.
			IdleConnTimeout:        idleTime,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

const (
	dialTime = 5 * time.Second
	idleTime = 4 * time.Second
)

// Dial opens a connection to an address with a dialer, or refuses to; nil: it is the
// dialer's alone. What is refused has not reached the app.
type Dial func(ctx context.Context, d *net.Dialer, address string) (net.Conn, error)

// With is Dial with that dialer, as a transport wants it.
func (f Dial) With(d *net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	if f == nil {
		return d.DialContext
	}
	return func(ctx context.Context, _, address string) (net.Conn, error) { return f(ctx, d, address) }
}
