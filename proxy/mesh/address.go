package mesh

import (
	"net"
	"strings"
)

// Address makes two spellings of one HOST:PORT equal: a host is compared
// without regard to case, and localhost is 127.0.0.1.
func Address(hostport string) string {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport
	}
	host = strings.ToLower(host)
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip != nil {
		host = ip.String()
	}
	return net.JoinHostPort(host, port)
}
