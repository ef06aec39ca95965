package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"pannier/proxy"
)

func TestConfigPath(t *testing.T) {
	for _, row := range []struct{ rule, env, args, want string }{
		{"none", "", "run", ""},
		{"flag", "", "run --api h:1 --config f.yaml", "f.yaml"},
		{"glued flag", "", "run --config=f.yaml --api h:1", "f.yaml"},
		{"environment", "e.yaml", "run --api h:1", "e.yaml"},
		{"flag before environment", "e.yaml", "run -config f.yaml", "f.yaml"},
		{"not a flag any more", "", "run -- --config f.yaml", ""},
		{"another command", "e.yaml", "get --config f.yaml", ""},
	} {
		t.Setenv(configEnv, row.env)
		if got := configPath(strings.Fields(row.args)); got != row.want {
			t.Errorf("%s: %q, want %q", row.rule, got, row.want)
		}
	}
}

// The file's word is in the options before the flags are built; the rest is their order.
func TestPrecedence(t *testing.T) {
	for _, row := range []struct{ rule, env, args, want string }{
		{"file", "", "", "file"},
		{"environment over file", "env", "", "env"},
		{"flag over both", "env", "--zone flag", "flag"},
	} {
		opts := proxy.DefaultOptions()
		opts.Zone = "file"
		if row.env != "" {
			t.Setenv("PANNIER_ZONE", row.env)
		}
		app := &cli.App{Flags: runFlags(&opts, cli.NewStringSlice(), cli.NewStringSlice()), HideHelp: true, Action: func(*cli.Context) error { return nil }}
		if err := app.Run(append([]string{"pannier"}, strings.Fields(row.args)...)); err != nil {
			t.Fatal(err)
		}
		if opts.Zone != row.want {
			t.Errorf("%s: zone is %q, want %q", row.rule, opts.Zone, row.want)
		}
	}
}

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
		opts, servers := proxy.DefaultOptions(), cli.NewStringSlice()
		app := &cli.App{Flags: runFlags(&opts, cli.NewStringSlice(), servers), HideHelp: true, Action: func(*cli.Context) error { return nil }}
		if err := app.Run(append([]string{"pannier"}, strings.Fields(row.args)...)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(servers.Value(), " "); got != "a:1 b:2" {
			t.Errorf("PANNIER_XDS=%q %s: %s, want a:1 b:2", row.env, row.args, got)
		}
	}
}
