package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pannier/e2e/tree"
)

// The image is built by the Dockerfile, and tested without a container engine: its
// lines are read, its build line is run, and what it makes is started in a root with
// nothing else in it.

// dockerfile is one instruction a line, continuations joined.
func dockerfile() ([]string, error) {
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", "")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// buildImage runs the Dockerfile's build line in a tree, for out in place of /out.
func buildImage(tree, out string) error {
	lines, err := dockerfile()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "RUN ") && strings.Contains(l, " go build ") })
	if at < 0 {
		return fmt.Errorf("the Dockerfile builds nothing")
	}
	line := strings.ReplaceAll(strings.TrimPrefix(lines[at], "RUN "), "/out/", out+"/")
	cmd := exec.Command("sh", "-ec", `TARGETOS=$(go env GOOS) TARGETARCH=$(go env GOARCH) VERSION=`+versionOf(lines)+`; `+line)
	cmd.Dir = tree
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", line, err, text)
	}
	return nil
}

// environment is that of the image.
func environment(lines []string) (all []string) {
	for _, l := range lines {
		if set, ok := strings.CutPrefix(l, "ENV "); ok {
			all = append(all, set)
		}
	}
	return all
}

// versionOf is the version that the image is built as.
func versionOf(lines []string) string {
	for _, l := range lines {
		if version, ok := strings.CutPrefix(l, "ARG VERSION="); ok {
			return version
		}
	}
	return ""
}

// TestImageSaysItsVersion: it is that of the charts, which name the image by it.
func TestImageSaysItsVersion(t *testing.T) {
	t.Parallel()
	lines, err := dockerfile()
	if err != nil {
		t.Fatal(err)
	}
	version := versionOf(lines)
	if out, err := exec.Command(release(t, "pannier"), "version").CombinedOutput(); err != nil || version == "" || !strings.Contains(string(out), version) {
		t.Errorf("built as %q it says %s, %v", version, out, err)
	}
	charts, _ := filepath.Glob("../charts/*/Chart.yaml")
	if len(charts) != 3 {
		t.Errorf("%d charts", len(charts))
	}
	for _, chart := range charts {
		if text := readAll(chart); strings.Contains(text, "appVersion") && !strings.Contains(text, "appVersion: "+version+"\n") {
			t.Errorf("%s is of another version than %s:\n%s", chart, version, text)
		}
	}
}

// TestDockerfile holds the image to what a cluster with strict rules asks of it.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	lines, err := dockerfile()
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for i, l := range lines {
		if strings.HasPrefix(l, "FROM ") {
			last = i
		}
	}
	// With a value of its own the build would not follow --platform.
	if !slices.Contains(lines[:last], "ARG TARGETOS TARGETARCH") {
		t.Error("what is built for is not what the builder says")
	}
	// Built with -trimpath, the programs do not know where Go is, and its zones are.
	if !regexp.MustCompile(`(?m)^RUN .*cp "\$\(go env GOROOT\)/lib/time/zoneinfo\.zip" /out/zoneinfo\.zip$`).MatchString(strings.Join(lines[:last], "\n")) {
		t.Error("no zones are taken from Go for the image")
	}
	image := strings.Join(lines[last:], "\n")
	for _, want := range []string{
		`^FROM scratch\n`,
		`\nUSER [1-9]\d*:[1-9]\d*\n`, // by number: runAsNonRoot cannot look a name up
		`\nENTRYPOINT \["/pannier"\]\n`,
		`\nCMD \["run"\]`,
		`\nCOPY --from=build --chown=65532:65532 /out/data /var/lib/pannier\n`,
		`\nSTOPSIGNAL SIGTERM\n`,
		`\nCOPY --from=build /out/pannier /out/pannier-control /out/zoneinfo\.zip /\n`,
		`\nENV ZONEINFO=/zoneinfo\.zip\n`,
		`org\.opencontainers\.image\.title="[^"]+"`,
		`org\.opencontainers\.image\.description="[^"]+"`,
		`org\.opencontainers\.image\.licenses="Apache-2\.0"`,
	} {
		if !regexp.MustCompile(want).MatchString(image) {
			t.Errorf("the image lacks %s:\n%s", want, image)
		}
	}
	if strings.Contains(image, "\nRUN ") {
		t.Error("the image runs something: there is no shell in it")
	}
}

// TestImageIsReproducible: the same source gives the same bytes, wherever it lies.
func TestImageIsReproducible(t *testing.T) {
	t.Parallel()
	first := release(t, "pannier")
	elsewhere, out := filepath.Join(t.TempDir(), "another", "place"), t.TempDir()
	tree.Copy(t, "..", elsewhere)
	if err := buildImage(elsewhere, out); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"pannier", "pannier-control"} {
		a, err := os.ReadFile(filepath.Join(filepath.Dir(first), program))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(out, program))
		if err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(a) != sha256.Sum256(b) {
			t.Errorf("%s has %d bytes and other ones elsewhere: %d", program, len(a), len(b))
		}
		if here, _ := filepath.Abs(".."); bytes.Contains(a, []byte(here)) || bytes.Contains(b, []byte(elsewhere)) {
			t.Errorf("%s says where it was built", program)
		}
	}
}

// TestEmptyRoot runs the program as the image does: alone in its root, as nobody,
// which may write to the journal's directory only. Schedules know zones there, by the
// environment of the image.
func TestEmptyRoot(t *testing.T) {
	t.Parallel()
	need(t, true)
	const nobody = 65532
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(release(t, "pannier"), filepath.Join(root, "pannier")); err != nil {
		t.Fatal(err)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	zones := readAll(filepath.Join(strings.TrimSpace(string(goroot)), "lib", "time", "zoneinfo.zip"))
	if err := os.WriteFile(filepath.Join(root, "zoneinfo.zip"), []byte(zones), 0o644); err != nil {
		t.Fatal(err)
	}
	lines, err := dockerfile()
	if err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(root, "var", "lib", "pannier")
	if err := os.MkdirAll(journal, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(journal, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	p, err := spawnBy(&syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}, "/",
		"/pannier", []string{"run", "--agent", billing, "--api", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--health", "127.0.0.1:0"},
		environment(lines), filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	var ready struct{ API, Health string }
	select {
	case line := <-p.first:
		if err := json.Unmarshal([]byte(line), &ready); err != nil {
			t.Fatalf("ready line %q: %v", line, err)
		}
	case <-p.exited:
		t.Fatalf("it ended: %v", p.cmd.ProcessState)
	}
	client := &http.Client{Timeout: 20 * time.Second}
	if a := call(client, "http://"+ready.API, "POST", "/v1/intents", message(billing, map[string]any{"n": 1})); a.code != http.StatusOK {
		t.Errorf("POST: %v", a)
	}
	nightly := map[string]any{"name": "nightly", "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "intent": message(billing, map[string]any{"n": 2})}
	if a := call(client, "http://"+ready.API, "POST", "/v1/schedules", nightly); a.code/100 != 2 {
		t.Errorf("a schedule in Berlin: %v", a)
	}
	if a := call(client, "http://"+ready.Health, "GET", "/readyz", nil); a.code != http.StatusOK {
		t.Errorf("readyz: %v", a)
	}
	client.CloseIdleConnections()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) != 3 {
		t.Errorf("beside the program, the zones and the journal it left %v, %v", left, err)
	}
}
