package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestBusyPortIsNamed(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, busy := net.Listen("tcp", taken.Addr().String())
	got := listenError(fmt.Errorf("listen for the app: %w", busy), "choose another")
	for _, want := range []string{"cannot listen on " + taken.Addr().String(), "choose another", "[port_in_use]"} {
		if !strings.Contains(got.Error(), want) {
			t.Errorf("error is %q and does not contain %q", got, want)
		}
	}
	if other := errors.New("other"); listenError(other, "") != other {
		t.Errorf("an error that is not about a port was changed")
	}
	if listenError(nil, "") != nil {
		t.Errorf("no error became one")
	}
}

func TestRunRefusesABadConfiguration(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"run", "--config", "/nonexistent/pannier.yaml"},
		{"run", "--journal", ""},
		{"run", "--journal", t.TempDir(), "extra"},
		{"run", "--max-body", "large"},
	} {
		if got := pannier(t, "", args...); got.exit != exitUsage || got.stdout != "" {
			t.Errorf("%v: exit %d, stdout %q, stderr %q; want %d and nothing", args, got.exit, got.stdout, got.stderr, exitUsage)
		}
	}
}

// Control planes are named one by one, or in a list, and in their order.
func TestXDSFlag(t *testing.T) {
	for _, row := range []struct{ env, args string }{
		{"", "--xds a:1 --xds b:2"}, {"", "--xds a:1,b:2"}, {"a:1,b:2", ""}, {"c:3", "--xds a:1,b:2"},
	} {
		if row.env != "" {
			t.Setenv("PANNIER_XDS", row.env)
		}
		got := pannier(t, "", append([]string{"config", "print"}, strings.Fields(row.args)...)...)
		if want := "\nxds: [\"a:1\", \"b:2\"]\n"; !strings.Contains(got.stdout, want) {
			t.Errorf("PANNIER_XDS=%q %s: no%sin\n%s%s", row.env, row.args, want, got.stdout, got.stderr)
		}
	}
}
