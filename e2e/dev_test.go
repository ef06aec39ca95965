package e2e_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dev is a running `pannier dev` on its fixed ports. Where the test may, it
// runs in a network of its own, so that it meets nobody on those ports.
type dev struct {
	t      testing.TB
	cmd    *exec.Cmd
	dir    string // its working directory, and that of the commands
	bin    string // directory with pannier in it
	inside []string
	out    string // file with its stdout
	ready  time.Duration
}

func startDev(t testing.TB) *dev {
	t.Helper()
	need(t, false, "bash", "curl", "jq")
	d := &dev{t: t, dir: t.TempDir(), bin: filepath.Dir(binary(t))}
	d.out = filepath.Join(t.TempDir(), "stdout")
	argv := []string{filepath.Join(d.bin, "pannier"), "dev"}
	own := os.Geteuid() == 0
	for _, tool := range []string{"unshare", "nsenter", "ip"} {
		_, err := exec.LookPath(tool)
		own = own && err == nil
	}
	if own {
		argv = append([]string{"unshare", "-n", "--", "sh", "-c", `ip link set lo up && exec "$0" "$@"`}, argv...)
	}
	d.cmd = exec.Command(argv[0], argv[1:]...)
	d.cmd.Dir, d.cmd.Env = d.dir, cleanEnv()
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := os.Create(d.out)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	d.cmd.Stdout, d.cmd.Stderr = out, out
	began := time.Now()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { d.cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		d.cmd.Process.Kill()
		<-exited
		if t.Failed() {
			t.Logf("output of dev:\n%s", readAll(d.out))
		}
	})
	eventually(t, "dev to be ready", func() error {
		select {
		case <-exited:
			t.Fatalf("dev ended: %v\n%s", d.cmd.ProcessState, readAll(d.out))
		default:
		}
		if text := readAll(d.out); !strings.Contains(text, "Ready in") || !strings.HasSuffix(text, "\n") {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	})
	d.ready = time.Since(began)
	if own {
		d.inside = []string{"nsenter", "-n", "-t", fmt.Sprint(d.cmd.Process.Pid), "--"}
	}
	return d
}

// shell is one bash beside dev; all commands of a transcript run in it.
type shell struct {
	d     *dev
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   string
	n     int
}

func (d *dev) shell() *shell {
	d.t.Helper()
	argv := append(append([]string{}, d.inside...), "bash", "--norc", "--noprofile")
	s := &shell{d: d, cmd: exec.Command(argv[0], argv[1:]...), out: filepath.Join(d.t.TempDir(), "transcript")}
	s.cmd.Dir = d.dir
	s.cmd.Env = append(cleanEnv(), "PATH="+d.bin+":"+os.Getenv("PATH"))
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := os.Create(s.out)
	if err != nil {
		d.t.Fatal(err)
	}
	defer out.Close()
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		d.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { s.stdin.Close(); s.cmd.Process.Kill(); s.cmd.Wait() })
	return s
}

// run gives the shell one command and returns what it printed and its exit
// code.
func (s *shell) run(command string) (output string, code int) {
	s.d.t.Helper()
	s.n++
	from := len(readAll(s.out))
	mark := fmt.Sprintf("\n-- end of command %d: ", s.n)
	fmt.Fprintf(s.stdin, "%s\nprintf '%s%%d\\n' $?\n", command, strings.ReplaceAll(mark, "\n", "\\n"))
	eventually(s.d.t, "the end of: "+command, func() error {
		text := readAll(s.out)[from:]
		before, after, found := strings.Cut(text, mark)
		if !found || !strings.HasSuffix(after, "\n") {
			return fmt.Errorf("printed %q", text)
		}
		output = before
		_, err := fmt.Sscan(after, &code)
		return err
	})
	return output, code
}

// TestDev: two sidecars, ready at once, few words, and each reaches the other.
func TestDev(t *testing.T) {
	d := startDev(t)
	said := readAll(d.out)
	t.Logf("figure: dev ready %v after it was started", d.ready.Round(time.Millisecond))
	if lines := strings.Count(said, "\n"); lines > 15 {
		t.Errorf("dev printed %d lines, want at most 15:\n%s", lines, said)
	}
	if info, err := os.Stat(filepath.Join(d.dir, ".pannier")); err != nil || !info.IsDir() {
		t.Errorf("no .pannier with its data: %v", err)
	}
	sh := d.shell()
	for _, way := range []struct{ from, to, agent string }{{"7400", "7500", "billing"}, {"7500", "7400", "orders"}} {
		post := fmt.Sprintf(`curl -sS -o /dev/null -w '%%{http_code}' http://127.0.0.1:%s/v1/agents/dev/local/%s/intents/order.v1 -H content-type:application/json -d '{"n":1}'`, way.from, way.agent)
		if out, code := sh.run(post); code != 0 || out != "200" {
			t.Errorf("post to %s: %s (exit %d)", way.agent, out, code)
		}
		poll := fmt.Sprintf("curl -sS 'http://127.0.0.1:%s/v1/agents/dev/local/%s/intents?wait_seconds=30'", way.to, way.agent)
		if out, _ := sh.run(poll); !strings.Contains(out, `"lease_id"`) {
			t.Errorf("poll of %s: %s", way.agent, out)
		}
	}
	if out, code := sh.run("pannier dev"); code != 1 || !strings.Contains(out, "port") {
		t.Errorf("a second dev on the same ports: exit %d, %s", code, out)
	}
}
