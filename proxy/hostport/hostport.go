// Package hostport judges addresses of the form HOST:PORT as operators write
// them: where to listen, what can be dialed, and who can reach it.
package hostport

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Listen takes HOST:PORT with an empty or zero-valued part: port 0 is any free
// one.
func Listen(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q; use HOST:PORT", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%q has no port from 0 to 65535; use HOST:PORT", address)
	}
	return nil
}

// Dial takes an address that can be dialed.
func Dial(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", address)
	}
	ip := net.ParseIP(host)
	if ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("%q is no address that can be dialed; use one of its host's own", address)
	}
	if ip == nil && (host == "" || strings.Trim(host, hostBytes) != "") {
		return fmt.Errorf("%q names no host", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%q has no port from 1 to 65535", address)
	}
	return nil
}

// hostBytes may stand in a host's name.
const hostBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

// OnLoopback reports whether only this machine reaches the address. A name
// other than localhost may come to mean anything.
func OnLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Everywhere reports whether the address is every interface's.
func Everywhere(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}
