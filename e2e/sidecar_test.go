package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pannier/proxy/api/apitest"
)

// The two agents most tests use: shop sends, billing receives.
const (
	shop    = "agent://acme/prod/shop"
	billing = "agent://acme/prod/billing"
)

// quick are the settings under which a test need not wait for production's
// patience. None of them changes what is promised.
var quick = map[string]string{
	"redial_min": "20ms", "redial_max": "200ms",
	"retry_min": "20ms", "retry_max": "100ms",
	"probe_min": "50ms", "probe_max": "200ms",
}

// setup says how one sidecar is to run.
type setup struct {
	name   string
	agents []string          // --agent
	peers  string            // --peers
	config map[string]string // keys of --config, over quick
	args   []string          // any other flag
	env    []string
	crashy bool         // the binary with failpoints
	dir    string       // journal; empty: a fresh one
	on     *host        // where it runs; nil: here, on loopback
	group  *memoryGroup // what bounds its memory; nil: nothing does
}

// sidecar is one `pannier run`. It keeps its ports over restarts, as a
// sidecar under a supervisor does.
type sidecar struct {
	t    testing.TB
	set  setup
	bin  string
	dir  string
	log  string // file its stderr is appended to, over restarts
	conf string

	api, peer, admin string
	ready            readyLine
	up               bool // the ready line of this process has been read
	proc             *process
	http             *http.Client
	app              *http.Client // over http's connections: of the app API, held to its description
}

// readyLine is the one line `run` prints on stdout.
type readyLine struct {
	Ready   bool   `json:"ready"`
	Node    string `json:"node"`
	API     string `json:"api"`
	Peer    string `json:"peer"`
	Admin   string `json:"admin"`
	People  string `json:"people"`
	Health  string `json:"health"`
	Durable *bool  `json:"durable"`
}

// process is a child with its end on record.
type process struct {
	cmd    *exec.Cmd
	first  chan string   // first line of stdout
	exited chan struct{} // closed when it has been waited for
	began  time.Time
}

func newSidecar(t testing.TB, set setup) *sidecar {
	t.Helper()
	s := &sidecar{t: t, set: set, bin: binary(t)}
	if set.crashy {
		var err error
		if s.bin, err = failpointBinary(); err != nil {
			t.Fatal(err)
		}
	}
	root := t.TempDir()
	s.dir = set.dir
	if s.dir == "" {
		s.dir = filepath.Join(root, "journal")
	}
	s.log = filepath.Join(root, "stderr")
	s.conf = filepath.Join(root, "config.yaml")
	transport := &http.Transport{MaxIdleConnsPerHost: 512}
	if set.on != nil {
		s.api, s.peer, s.admin = set.on.addresses(transport)
	} else {
		s.api, s.peer, s.admin = freeAddr(t), freeAddr(t), freeAddr(t)
	}
	s.http = &http.Client{Transport: transport, Timeout: 90 * time.Second}
	s.app = &http.Client{Transport: apitest.Watch(t, s.http.Transport), Timeout: s.http.Timeout}
	s.writeConfig()
	t.Cleanup(s.cleanup)
	return s
}

// start runs a fresh sidecar and waits until it says it is ready.
func start(t testing.TB, set setup) *sidecar {
	t.Helper()
	s := newSidecar(t, set)
	s.start()
	return s
}

func (s *sidecar) writeConfig() {
	all := map[string]string{}
	for k, v := range quick {
		all[k] = v
	}
	for k, v := range s.set.config {
		all[k] = v
	}
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%s: %s\n", k, all[k])
	}
	if err := os.WriteFile(s.conf, []byte(b.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sidecar) argv() []string {
	args := []string{"run", "--journal", s.dir, "--config", s.conf,
		"--api", s.api, "--peer", s.peer, "--admin", s.admin}
	for _, a := range s.set.agents {
		args = append(args, "--agent", a)
	}
	if s.set.peers != "" {
		args = append(args, "--peers", s.set.peers)
	}
	return append(args, s.set.args...)
}

// start launches the sidecar with the addresses it had before.
func (s *sidecar) start(env ...string) {
	s.t.Helper()
	s.launch(env...)
	s.awaitReady()
}

// launch starts the process and waits for nothing.
func (s *sidecar) launch(env ...string) {
	s.t.Helper()
	bin, argv := s.set.group.command(s.set.on.command(s.bin, s.argv()))
	p, err := spawn(bin, argv, append(append([]string{}, s.set.env...), env...), s.log)
	if err != nil {
		s.t.Fatalf("%s: %v", s.set.name, err)
	}
	s.proc, s.up = p, false
}

func (s *sidecar) awaitReady() {
	s.t.Helper()
	if err := s.tryReady(); err != nil {
		s.t.Fatalf("%s: %v", s.set.name, err)
	}
}

// awaitReadyAgain waits for the ready line of a launch, if there was one that
// has not been waited for.
func (s *sidecar) awaitReadyAgain() {
	s.t.Helper()
	if !s.up {
		s.awaitReady()
	}
}

func (s *sidecar) tryReady() error {
	var line string
	select {
	case line = <-s.proc.first:
	case <-s.proc.exited:
		return fmt.Errorf("ended before it was ready: %v", s.proc.cmd.ProcessState)
	case <-time.After(60 * time.Second):
		return errors.New("not ready after a minute")
	}
	s.ready = readyLine{}
	if err := json.Unmarshal([]byte(line), &s.ready); err != nil {
		return fmt.Errorf("ready line %q: %w", line, err)
	}
	if !s.ready.Ready {
		return fmt.Errorf("ready line %q", line)
	}
	if s.api != s.ready.API || s.peer != s.ready.Peer || s.admin != s.ready.Admin {
		s.api, s.peer, s.admin = s.ready.API, s.ready.Peer, s.ready.Admin // port 0; else others may be reading them
	}
	s.up = true
	return nil
}

// kill is SIGKILL: nothing of the process runs after it.
func (s *sidecar) kill() {
	s.t.Helper()
	s.proc.cmd.Process.Signal(syscall.SIGKILL) // it may have ended by itself: awaitExit says how
	s.awaitExit()
	s.http.CloseIdleConnections()
}

func (s *sidecar) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.proc.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("%s: %v", s.set.name, err)
	}
}

// stop is SIGTERM; it returns the exit code and how long the stop took.
func (s *sidecar) stop() (int, time.Duration) {
	s.t.Helper()
	began := time.Now()
	s.signal(syscall.SIGTERM)
	s.awaitExit()
	s.http.CloseIdleConnections()
	return s.proc.cmd.ProcessState.ExitCode(), time.Since(began)
}

func (s *sidecar) awaitExit() {
	s.t.Helper()
	select {
	case <-s.proc.exited:
	case <-time.After(60 * time.Second):
		s.proc.cmd.Process.Signal(syscall.SIGABRT) // prints all goroutines
		<-s.proc.exited
		s.t.Fatalf("%s: still running after a minute", s.set.name)
	}
}

func (s *sidecar) running() bool {
	select {
	case <-s.proc.exited:
		return false
	default:
		return true
	}
}

// killedBySignal reports the signal that ended the process, 0 for none.
func (s *sidecar) killedBySignal() syscall.Signal {
	if w, ok := s.proc.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return w.Signal()
	}
	return 0
}

func (s *sidecar) stderr() string {
	text, _ := os.ReadFile(s.log) // no file: it said nothing
	return string(text)
}

func (s *sidecar) cleanup() {
	if s.proc != nil && s.running() {
		s.proc.cmd.Process.Kill()
		<-s.proc.exited
	}
	s.http.CloseIdleConnections()
	if s.t.Failed() {
		s.t.Logf("stderr of %s (%s):\n%s", s.set.name, s.api, tail(s.stderr(), 6000))
	}
}

// spawn starts a child that dies with the test binary.
func spawn(bin string, argv, env []string, log string) (*process, error) {
	return spawnBy(&syscall.SysProcAttr{}, filepath.Dir(log), bin, argv, env, log)
}

// spawnBy does it in a directory, with what attr says of root and user.
func spawnBy(attr *syscall.SysProcAttr, dir, bin string, argv, env []string, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(bin, argv...)
	cmd.Env = append(cleanEnv(), env...)
	cmd.Stderr = out
	cmd.Dir = dir
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = attr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, first: make(chan string, 1), exited: make(chan struct{}), began: time.Now()}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		r := bufio.NewReader(stdout)
		if line, err := r.ReadString('\n'); err == nil {
			p.first <- strings.TrimSpace(line)
		}
		io.Copy(io.Discard, r) // until the process closes it
		cmd.Wait()             // the state is read from ProcessState
	}()
	return p, nil
}

// cleanEnv keeps the caller's PANNIER_ settings away from the tests.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PANNIER_") {
			env = append(env, kv)
		}
	}
	return env
}

// ports are given out from below the kernel's range for outgoing connections:
// a sidecar that was killed must find its port free again, and a dial to a
// port nobody listens on must not, by chance, connect to itself.
var ports atomic.Uint32

func freeAddr(t testing.TB) string {
	t.Helper()
	base := uint32(os.Getpid()) * 97
	for range 2000 {
		port := 12000 + (base+ports.Add(1))%20000
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		return addr
	}
	t.Fatal("no free port")
	return ""
}

// peersFile writes a static peers file and returns its path.
func peersFile(t testing.TB, agents map[string][]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peers.yaml")
	writePeers(t, path, agents)
	return path
}

// writePeers replaces the file as an editor or a ConfigMap does: by rename.
func writePeers(t testing.TB, path string, agents map[string][]string) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"agents": agents}) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, path, text)
}

func replaceFile(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// pair is the usual cast: home serves shop and knows where billing lives.
func pair(t testing.TB, config map[string]string) (home, holder *sidecar) {
	t.Helper()
	holder = newSidecar(t, setup{name: "holder", agents: []string{billing}, config: config})
	peers := peersFile(t, map[string][]string{billing: {holder.peer}})
	home = newSidecar(t, setup{name: "home", agents: []string{shop}, peers: peers, config: config})
	return home, holder
}

// startPair runs both.
func startPair(t testing.TB, config map[string]string) (home, holder *sidecar) {
	t.Helper()
	home, holder = pair(t, config)
	home.launch()
	holder.launch()
	home.awaitReady()
	holder.awaitReady()
	return home, holder
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	return "…\n" + s
}

// procField reads one kB value of /proc/PID/status, in bytes.
func (s *sidecar) procField(field string) int64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.proc.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var kb int64
		if n, _ := fmt.Sscanf(string(line), field+": %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	s.t.Fatalf("no %s in /proc/PID/status", field)
	return 0
}
