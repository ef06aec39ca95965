package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pannier/proxy/webhook"
)

// language is how the examples of one are run: each has a sender, two workers
// and a receiver.
type language struct {
	name  string
	tools []string
	ready func(testing.TB) error // builds what has to be built, once
	argv  func(program string) []string
}

const maxExampleLines = 60

var languages = []language{
	{name: "curl", tools: []string{"bash", "curl", "jq", "socat", "openssl"},
		argv: func(program string) []string { return []string{"bash", "examples/curl/" + program + ".sh"} }},
	{name: "go", tools: []string{"go"}, ready: func(testing.TB) error { return goExamples() },
		argv: func(program string) []string { return []string{filepath.Join(scratch, "examples", program)} }},
	{name: "typescript", tools: []string{"node", "npx"}, ready: func(t testing.TB) error { needModules(t, "examples/typescript"); return typescriptExamples() },
		argv: func(program string) []string { return []string{"node", "examples/typescript/dist/" + program + ".js"} }},
	{name: "python", tools: []string{"python3"},
		argv: func(program string) []string { return []string{"python3", "examples/python/" + program + ".py"} }},
}

var (
	goExamples = sync.OnceValue(func() error {
		dir := filepath.Join(scratch, "examples")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		return output("go", "build", "-o", dir, "./examples/go/...")
	})
	// The types are checked on the way.
	typescriptExamples = sync.OnceValue(func() error {
		return output("npx", "--no-install", "--prefix", "examples/typescript", "tsc", "-p", "examples/typescript")
	})
)

func output(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// needModules stops a test that needs what npm installs in a directory, or Node 20.
func needModules(t testing.TB, dir string) {
	t.Helper()
	need(t, false, "node", "npm")
	version, err := exec.Command("node", "--version").Output()
	var major int
	if _, scan := fmt.Sscanf(string(version), "v%d.", &major); err != nil || scan != nil || major < 20 {
		lacks(t, fmt.Sprintf("Node 20, not %q", strings.TrimSpace(string(version))))
	} else if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err != nil {
		lacks(t, "npm ci in e2e/"+dir)
	}
}

// start runs a program of the language until the test ends.
func (l language) start(t testing.TB, program, api string, args ...string) {
	t.Helper()
	cmd := l.command(program, api, args...)
	log := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // a script has children
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s/%s printed:\n%s", l.name, program, tail(log.String(), 3000))
		}
	})
}

func (l language) command(program, api string, args ...string) *exec.Cmd {
	argv := append(l.argv(program), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(cleanEnv(), "PANNIER=http://"+api)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// sent is what every sender prints.
type sent struct {
	ID     string          `json:"intent_id"`
	Status string          `json:"status"`
	Result json.RawMessage `json:"result"`
}

// send runs the sender to its end.
func (l language) send(t testing.TB, home *sidecar, payload string) (got sent) {
	t.Helper()
	cmd := l.command("send", home.api, billing, payload)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil || json.Unmarshal(out, &got) != nil {
		t.Fatalf("%s/send: %v: %s%s", l.name, err, out, complaint.String())
	}
	return got
}

// TestExamples runs each example against two sidecars: the sender sees what the
// worker made of it, also after the holder was killed below the worker, and an
// intent that the worker cannot do.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			need(t, false, l.tools...)
			if l.ready != nil {
				if err := l.ready(t); err != nil {
					t.Fatal(err)
				}
			}
			for _, worker := range []string{"poll", "stream"} {
				t.Run(worker, func(t *testing.T) {
					t.Parallel()
					home, holder := startPair(t, nil)
					l.start(t, worker, holder.api, billing)
					l.tryWorker(t, worker, home, holder)
				})
			}
			t.Run("webhook", func(t *testing.T) {
				t.Parallel()
				l.tryReceiver(t)
			})
		})
	}
}

func (l language) tryWorker(t *testing.T, worker string, home, holder *sidecar) {
	done := func(total string) {
		t.Helper()
		want := fmt.Sprintf(`{"paid": %s, "by": "%s/%s"}`, total, l.name, worker)
		if got := l.send(t, home, `{"total": `+total+`}`); got.Status != "COMPLETED" || !sameJSON(want, got.Result) {
			t.Errorf("%s/send printed %s, result %s; want COMPLETED and %s", l.name, got.Status, got.Result, want)
		}
	}
	done("4.5")
	holder.kill()
	holder.start()
	done("7")
	id, a := home.tryPost(message(billing, map[string]any{}, delivery("max_delivery_attempts", 1)), "")
	if a.code != 200 {
		t.Fatalf("post: %v", a)
	}
	home.status(id, "FAILED")
	if t.Failed() {
		return
	}
	fmt.Printf("example %s/%s: done for %s/send, over a SIGKILL of the sidecar; cannot do one without a total\n", l.name, worker, l.name)
}

// tryReceiver has a receiver's signature check tried too.
func (l language) tryReceiver(t *testing.T) {
	app := freeAddr(t)
	_, port, _ := strings.Cut(app, ":")
	holder := newSidecar(t, setup{name: "holder", agents: []string{billing + "=http:http://" + app + "/intents"}})
	home := newSidecar(t, setup{name: "home", agents: []string{shop}, peers: peersFile(t, map[string][]string{billing: {holder.peer}})})
	home.launch()
	holder.launch()
	home.awaitReady()
	holder.awaitReady()
	id := home.post(billing, map[string]any{"total": 1}) // makes the secret; nobody listens yet
	var ring string
	eventually(t, "the file of the secret", func() error {
		found, err := filepath.Glob(filepath.Join(holder.dir, "secrets", "*.json"))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("%v, %v", found, err)
		}
		ring = found[0]
		return nil
	})
	l.start(t, "webhook", holder.api, port, ring)
	home.status(id, "COMPLETED")
	l.tryWorker(t, "webhook", home, holder)
	for name, header := range map[string][]string{
		"unsigned":      nil,
		"badly signed":  {"webhook-id", id, "webhook-timestamp", fmt.Sprint(time.Now().Unix()), "webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		"signed as old": signedBy(t, holder, id, `{"payload":{"total":1}}`, -3600),
	} {
		if a := call(http.DefaultClient, "http://"+app, "POST", "/intents", `{"payload":{"total":1}}`, header...); a.code != http.StatusUnauthorized {
			t.Errorf("%s: %v, want 401", name, a)
		}
	}
	if a := call(http.DefaultClient, "http://"+app, "POST", "/intents", `{"payload":{"total":1}}`, signedBy(t, holder, id, `{"payload":{"total":1}}`, 0)...); a.code != http.StatusOK {
		t.Errorf("rightly signed: %v, want 200", a)
	}
}

// TestExamplesAreShort: what does not fit on a page is no example.
func TestExamplesAreShort(t *testing.T) {
	t.Parallel()
	programs := 0
	err := filepath.WalkDir("examples", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "dist") {
			return filepath.SkipDir
		}
		switch filepath.Ext(path) {
		case ".sh", ".go", ".ts", ".py":
		default:
			return nil
		}
		programs++
		text, err := os.ReadFile(path)
		if n := bytes.Count(text, []byte("\n")); n > maxExampleLines {
			t.Errorf("%s has %d lines, more than %d", path, n, maxExampleLines)
		}
		return err
	})
	if want := 4 * len(languages); err != nil || programs != want {
		t.Errorf("%d programs, want %d: %v", programs, want, err)
	}
}

// signedBy are the headers of a body signed with the holder's secret, some
// seconds from now.
func signedBy(t testing.TB, holder *sidecar, id, body string, seconds int) (list []string) {
	t.Helper()
	h := http.Header{}
	webhook.Sign(h, id, time.Now().Add(time.Duration(seconds)*time.Second), []byte(body), secretsIn(t, holder)...)
	for name := range h {
		list = append(list, name, h.Get(name))
	}
	return list
}

// sameJSON compares values: languages order members as they like.
func sameJSON(want string, got []byte) bool {
	var w, g any
	return json.Unmarshal([]byte(want), &w) == nil && json.Unmarshal(got, &g) == nil && reflect.DeepEqual(w, g)
}
