package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// foreign is an xDS client nobody here wrote: a program that calls what TARGET
// resolves to as often as the line it reads says, and prints who answered.
type foreign struct {
	name  string
	argv  []string
	needs func(testing.TB)
}

// python is Debian's, whose gRPC is a package: others have none.
const python = "/usr/bin/python3"

var foreigners = []foreign{
	{"grpc-js", []string{"node", "interop/grpcjs/client.mjs"}, func(t testing.TB) { needModules(t, "interop/grpcjs") }},
	{"C-core", []string{python, "interop/ccore/client.py"}, func(t testing.TB) {
		if exec.Command(python, "-c", "import grpc").Run() != nil {
			lacks(t, "python3-grpcio")
		}
	}},
}

// TestForeignClients has the xDS clients of other languages resolve an agent at
// our control plane: they spread their calls, follow a change, and refuse nothing.
func TestForeignClients(t *testing.T) {
	t.Parallel()
	for _, f := range foreigners {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			f.needs(t)
			a, b, c := answerer(t), answerer(t), answerer(t)
			agents := filepath.Join(t.TempDir(), "agents.yaml")
			place := func(addresses ...string) {
				t.Helper()
				var list []string
				for i, address := range addresses {
					list = append(list, fmt.Sprintf("{address: %q, zone: z%d}", address, i))
				}
				text := fmt.Sprintf(`agents:
  %s:
    endpoints: [%s]
    policy:
      max_requests: 100
      per_try_timeout: 20s
      backoff: {base: 10ms, max: 1s}
      breaker: {consecutive: 5, interval: 1s, base_ejection: 1s, max_ejection: 1m, max_ejection_percent: 50}
      fault: {delay: 1ms, delay_percent: 1}
`, billing, strings.Join(list, ", "))
				if err := os.WriteFile(agents+".new", []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(agents+".new", agents); err != nil {
					t.Fatal(err)
				}
			}
			place(a, b)
			plane := startControlPlane(t, "--source", "file="+agents)
			ask := f.start(t, plane.XDS)
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("at the control plane: %+v", plane.status(t))
				}
			})
			reached := func(want ...string) {
				t.Helper()
				slices.Sort(want)
				eventually(t, fmt.Sprintf("calls reach %v", want), func() error {
					if got := ask(20); !slices.Equal(got, want) {
						return fmt.Errorf("they reached %v", got)
					}
					return nil
				})
			}
			reached(a, b)
			place(b, c)
			reached(b, c)
			place(c)
			reached(c)

			status := plane.status(t)
			if len(status.Nacks) != 0 {
				t.Errorf("refused: %s", status.Nacks)
			}
			if len(status.Nodes) != 1 || len(status.Nodes[0].Types) < 4 || !strings.HasPrefix(status.Nodes[0].UserAgent, "gRPC") {
				t.Errorf("streams: %+v, want one of gRPC with four types", status.Nodes)
			}
		})
	}
}

// start runs the program against a control plane. ask returns who answered.
func (f foreign) start(t *testing.T, xds string) (ask func(n int) []string) {
	t.Helper()
	bootstrap := filepath.Join(t.TempDir(), "bootstrap.json")
	text := fmt.Sprintf(`{"xds_servers": [{"server_uri": %q, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}], "node": {"id": %q, "cluster": "c", "locality": {"zone": "z0"}, "metadata": {}}}`, xds, f.name)
	if err := os.WriteFile(bootstrap, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(f.argv[0], f.argv[1:]...)
	cmd.Env = append(cleanEnv(), "GRPC_XDS_BOOTSTRAP="+bootstrap, "TARGET=xds:///billing.prod.acme")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	return func(n int) []string {
		t.Helper()
		fmt.Fprintln(in, n)
		if !lines.Scan() {
			t.Fatalf("%s ended", f.name)
		}
		answers := strings.Fields(lines.Text())
		slices.Sort(answers)
		return slices.Compact(answers)
	}
}

// answerer is a gRPC server that says who it is, after each answer.
func answerer(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	me := l.Addr().String()
	server := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		grpc.SetTrailer(ctx, metadata.Pairs("from", me))
		return next(ctx, r)
	}))
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return me
}

// controlPlane is one `pannier control-plane`.
type controlPlane struct {
	XDS   string
	Admin string
	proc  *process
	log   string // file with its stderr
}

// startControlPlane runs one on free ports and waits for its ready line.
func startControlPlane(t testing.TB, args ...string) *controlPlane {
	t.Helper()
	argv := append([]string{"control-plane", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)
	log := filepath.Join(t.TempDir(), "stderr")
	p, err := spawn(binary(t), argv, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
		if text, _ := os.ReadFile(log); t.Failed() {
			t.Logf("control plane:\n%s", tail(string(text), 3000))
		}
	})
	plane := &controlPlane{proc: p, log: log}
	select {
	case line := <-p.first:
		if err := json.Unmarshal([]byte(line), plane); err != nil || plane.XDS == "" {
			t.Fatalf("ready line %q: %v", line, err)
		}
	case <-p.exited:
		text, _ := os.ReadFile(log)
		t.Fatalf("control plane ended: %v\n%s", p.cmd.ProcessState, text)
	}
	return plane
}

// planeStatus is what operators are shown.
type planeStatus struct {
	Nacks []json.RawMessage
	Nodes []struct {
		Node      string
		UserAgent string `json:"user_agent"`
		Types     map[string]json.RawMessage
	}
}

func (c *controlPlane) status(t testing.TB) (status planeStatus) {
	t.Helper()
	answer, err := http.Get("http://" + c.Admin + "/v1/admin/xds")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	return status
}
