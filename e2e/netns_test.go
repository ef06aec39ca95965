package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"pannier/proxy/identity/identitytest"
)

// network is hosts on one switch: each, and the switch, is a network namespace
// of its own, so that nothing of it is seen outside, and every network has the
// same addresses.
type network struct {
	t       testing.TB
	name    string // of the switch, and before those of the hosts
	hosts   []*host
	sockets string // directory of the app APIs: short, since a socket's path must be
	keyring string // file of the one keyring that all have
}

// host is a place for one process.
type host struct {
	net   *network
	name  string // of its namespace
	ip    string
	calls atomic.Uint32 // sidecars that were given addresses
}

// The names of namespaces say whose they are, since those of a process that was
// killed stay. Interfaces have 15 characters at most.
const namespacePrefix = "pnr"

var (
	networks    atomic.Uint32
	sweepNoOnes = sync.OnceFunc(sweepNamespaces)
)

// newNetwork makes the hosts; host i is 10.77.0.(i+1).
func newNetwork(t testing.TB, hosts int) *network {
	t.Helper()
	need(t, true, "ip", "nft")
	sweepNoOnes()
	n := &network{t: t, name: fmt.Sprintf("%s%d-%d", namespacePrefix, os.Getpid(), networks.Add(1))}
	n.sockets = filepath.Join(scratch, n.name)
	if err := os.Mkdir(n.sockets, 0o700); err != nil {
		t.Fatal(err)
	}
	n.keyring = filepath.Join(t.TempDir(), "keyring.yaml")
	identitytest.Replace(t, n.keyring, keyringOf(keyOf("1")("current")))
	// Before what the cleanup takes away, and after the processes that live in it.
	t.Cleanup(n.remove)
	if text, err := run("ip", "netns", "add", n.name); err != nil {
		lacks(t, "network namespaces: "+text)
	}
	n.must(nil, "ip", "-n", n.name, "link", "add", "switch", "up", "type", "bridge")
	for i := range hosts {
		h := &host{net: n, name: fmt.Sprintf("%s-%d", n.name, i), ip: fmt.Sprintf("10.77.0.%d", i+1)}
		cable := fmt.Sprint("host", i)
		n.must(nil, "ip", "netns", "add", h.name)
		n.hosts = append(n.hosts, h)
		n.must(nil, "ip", "-n", n.name, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", h.name)
		n.must(nil, "ip", "-n", n.name, "link", "set", cable, "master", "switch", "up")
		n.must(nil, "ip", "-n", h.name, "addr", "add", h.ip+"/24", "dev", "eth0")
		n.must(nil, "ip", "-n", h.name, "link", "set", "eth0", "up")
		n.must(nil, "ip", "-n", h.name, "link", "set", "lo", "up")
		n.must(h, "nft", "add table inet cut; add chain inet cut in { type filter hook input priority 0; }")
	}
	return n
}

// remove takes all of it away. The processes in it have ended: a namespace lives
// as long as one.
func (n *network) remove() {
	for _, h := range n.hosts {
		run("ip", "netns", "del", h.name) // not made, if it was its making that failed
	}
	run("ip", "netns", "del", n.name)
}

// sweepNamespaces takes away what was left by processes that are no more.
func sweepNamespaces() {
	names, _ := filepath.Glob("/run/netns/" + namespacePrefix + "*") // none, where there is no such directory
	for _, path := range names {
		name := filepath.Base(path)
		var pid int
		if n, _ := fmt.Sscanf(name, namespacePrefix+"%d-", &pid); n == 1 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			run("ip", "netns", "del", name) // another process may be at it, too
		}
	}
}

// must runs a command, on a host if one is given.
func (n *network) must(on *host, name string, args ...string) {
	n.t.Helper()
	name, args = on.command(name, args)
	if text, err := run(name, args...); err != nil {
		n.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, text)
	}
}

func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// command is how to run something on the host; ip becomes what it runs, so that
// a signal to it is one to that. Without a host it runs here.
func (h *host) command(name string, args []string) (string, []string) {
	if h == nil {
		return name, args
	}
	return "ip", append([]string{"netns", "exec", h.name, name}, args...)
}

// addresses are those of one sidecar on the host. Its app API is a socket, which
// whoever has the file system reaches: transport is made to.
func (h *host) addresses(transport *http.Transport) (api, peer, admin string) {
	n := h.calls.Add(1)
	socket := filepath.Join(h.net.sockets, fmt.Sprintf("%s-%d", h.name[len(h.net.name)+1:], n))
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return "unix:" + socket, fmt.Sprintf("%s:%d", h.ip, 7400+2*n), fmt.Sprintf("127.0.0.1:%d", 7401+2*n)
}

// drop loses what one host sends to another, without a word to either.
func (n *network) drop(from, to *host) {
	n.t.Helper()
	n.must(to, "nft", "add rule inet cut in ip saddr "+from.ip+" drop")
}

// unplug takes a host's cable out.
func (n *network) unplug(h *host) { n.t.Helper(); n.cable(h, "down") }

func (n *network) cable(h *host, state string) {
	n.t.Helper()
	n.must(nil, "ip", "-n", n.name, "link", "set", "host"+strings.TrimPrefix(h.name, n.name+"-"), state)
}

// mend undoes all drops, and plugs all cables in.
func (n *network) mend() {
	n.t.Helper()
	for _, h := range n.hosts {
		n.must(h, "nft", "flush chain inet cut in")
		n.cable(h, "up")
	}
}
