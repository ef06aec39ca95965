package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// console is the terminal of one script: what was typed there and what it printed, as a reader on
// another day would see it. It is kept in the file "transcript" of the script's directory.
type console struct {
	bin, dir string
	text     strings.Builder
	forms    []form            // what differs from run to run, by its form
	shown    map[string]string // an address of this run, and the one a user would have
	ids      map[string]string
	serving  map[string]*served
}

// form is what a part of the output looks like, and what stands for it.
type form struct {
	looks *regexp.Regexp
	name  string
}

// served is a pannier that runs until it is stopped.
type served struct {
	cmd            *exec.Cmd
	stdout, stderr string // files
	exited         chan struct{}
	recorded       bool
}

// consoleKey finds the console of a script in its environment.
type consoleKey struct{}

// consoleCommands are what a script of transcripts/ may say beside the commands of testscript.
var consoleCommands = map[string]func(*testscript.TestScript, bool, []string){
	"pannier": func(ts *testscript.TestScript, neg bool, args []string) {
		atConsole(ts).run(ts, neg, "", args)
	},
	"until": func(ts *testscript.TestScript, neg bool, args []string) {
		if len(args) < 3 || args[1] != "pannier" {
			ts.Fatalf("usage: until REGEXP pannier ARGUMENT…")
		}
		atConsole(ts).run(ts, neg, args[0], args[2:])
	},
	"pair": func(ts *testscript.TestScript, _ bool, _ []string) {
		atConsole(ts).serve(ts, "dev", []string{"dev", "--random-ports", "-o", "json"}, false)
		ts.Setenv("PANNIER_ADDR", ts.Getenv("ORDERS_API"))
		ts.Setenv("PANNIER_ADMIN", ts.Getenv("ORDERS_ADMIN"))
	},
	"serve": func(ts *testscript.TestScript, _ bool, args []string) {
		if len(args) < 2 {
			ts.Fatalf("usage: serve NAME ARGUMENT…")
		}
		atConsole(ts).serve(ts, args[0], args[1:], true)
	},
	"interrupt": func(ts *testscript.TestScript, _ bool, args []string) {
		if len(args) != 1 {
			ts.Fatalf("usage: interrupt NAME")
		}
		atConsole(ts).interrupt(ts, args[0])
	},
	"keep": keep,
	"norm": func(ts *testscript.TestScript, _ bool, args []string) {
		if len(args) != 2 {
			ts.Fatalf("usage: norm REGEXP NAME")
		}
		looks, err := regexp.Compile(args[0])
		ts.Check(err)
		c := atConsole(ts)
		c.forms = append(c.forms, form{looks, args[1]})
	},
}

func atConsole(ts *testscript.TestScript) *console { return ts.Value(consoleKey{}).(*console) }

// openConsole gives a script its console, and a user's environment.
func openConsole(bin string) func(*testscript.Env) error {
	return func(e *testscript.Env) error {
		c := &console{bin: bin, dir: e.WorkDir, shown: map[string]string{}, ids: map[string]string{}, serving: map[string]*served{}}
		c.forms = slices.Clone(alwaysDiffers)
		e.Values[consoleKey{}] = c
		e.Setenv("PATH", filepath.Dir(bin)+string(filepath.ListSeparator)+os.Getenv("PATH"))
		e.Defer(c.end)
		return nil
	}
}

// alwaysDiffers holds in every script; the command norm adds to it.
var alwaysDiffers = []form{
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), "TIME"},
	{regexp.MustCompile(`\b\d+\.\d+ ?(ms|s)\b`), "SPAN"},
	{regexp.MustCompile(`([^\s|])  +`), "$1  "}, // how wide a column is, follows from the rest; a mark is below what it marks
}

var (
	uuid     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	loopback = regexp.MustCompile(`(127\.0\.0\.1|localhost):\d+`)
)

// norm puts names in place of what differs from run to run: ids are numbered as they appear, so that
// one that comes back is seen to; addresses are those of a user who chose none.
func (c *console) norm(text string) string {
	text = strings.ReplaceAll(text, c.dir, "$WORK")
	text = loopback.ReplaceAllStringFunc(text, func(addr string) string {
		if as, ok := c.shown[addr]; ok {
			return as
		}
		return addr
	})
	text = uuid.ReplaceAllStringFunc(text, func(id string) string {
		if c.ids[id] == "" {
			c.ids[id] = fmt.Sprintf("ID-%d", len(c.ids)+1)
		}
		return c.ids[id]
	})
	for _, f := range c.forms {
		text = f.looks.ReplaceAllString(text, f.name)
	}
	return text
}

// record adds a command and what came of it: standard output as it is, each line of standard error
// after "2> ", and any exit code but 0.
func (c *console) record(ts *testscript.TestScript, typed, stdout, stderr string, code int) {
	if c.text.Len() > 0 {
		c.text.WriteString("\n")
	}
	if typed != "" {
		c.text.WriteString(c.norm(typed) + "\n")
	}
	c.text.WriteString(lines("", c.norm(stdout)))
	c.text.WriteString(lines("2> ", c.norm(stderr)))
	if code != 0 {
		fmt.Fprintf(&c.text, "[exit code %d]\n", code)
	}
	ts.Check(os.WriteFile(ts.MkAbs("transcript"), []byte(c.text.String()), 0o600))
}

func lines(margin, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(margin+strings.TrimRight(line, "\n"), " ") + "\n")
	}
	return b.String()
}

// typed is a command line as a user would type it.
func typed(args []string) string {
	words := []string{"$ pannier"}
	for _, arg := range args {
		if arg == "" || strings.ContainsAny(arg, " \t'\"{}[]*?$&;|()`\\") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// run is a command that ends. "< FILE" at its end is its standard input. With a pattern it is run
// again until its standard output matches, and the last time is the one that counts.
func (c *console) run(ts *testscript.TestScript, neg bool, pattern string, args []string) {
	line, input := typed(args), ""
	if n := len(args); n > 2 && args[n-2] == "<" {
		line, input = typed(args[:n-2])+" < "+args[n-1], ts.ReadFile(args[n-1])
		args = args[:n-2]
	}
	until, err := regexp.Compile(pattern)
	ts.Check(err)
	var stdout, stderr bytes.Buffer
	var code int
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		stdout.Reset()
		stderr.Reset()
		cmd := c.command(ts, args)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
		err := cmd.Run()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", line, err)
		}
		code = cmd.ProcessState.ExitCode()
		if until.MatchString(stdout.String()) {
			break
		}
		if time.Since(began) > time.Minute {
			ts.Fatalf("%s: after a minute it still prints\n%s%s", line, &stdout, &stderr)
		}
	}
	ts.Stdout().Write(stdout.Bytes())
	ts.Stderr().Write(stderr.Bytes())
	c.record(ts, line, stdout.String(), stderr.String(), code)
	if neg != (code != 0) {
		ts.Fatalf("%s: exit code %d\n%s%s", line, code, &stdout, &stderr)
	}
}

func (c *console) command(ts *testscript.TestScript, args []string) *exec.Cmd {
	cmd := exec.Command(c.bin, args...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"HOME", "PATH", "TMPDIR", "PANNIER_ADDR", "PANNIER_ADMIN", "PANNIER_API_KEY", "PANNIER_CONFIG"} {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// keep puts standard output of the last command, or what the pattern has in parentheses, into a
// variable.
func keep(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: keep NAME [REGEXP]")
	}
	value := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) == 2 {
		looks, err := regexp.Compile(args[1])
		ts.Check(err)
		found := looks.FindStringSubmatch(value)
		if len(found) != 2 {
			ts.Fatalf("no %s in\n%s", args[1], value)
		}
		value = found[1]
	}
	ts.Setenv(args[0], value)
}

// serve starts what runs until it is stopped, and waits for its first words. The variables NAME_API,
// NAME_PEER and NAME_ADMIN, or NAME_XDS, are its addresses; of dev, those of ORDERS and BILLING.
func (c *console) serve(ts *testscript.TestScript, name string, args []string, recorded bool) {
	s := &served{cmd: c.command(ts, args), exited: make(chan struct{}), recorded: recorded}
	s.stdout, s.stderr = ts.MkAbs(name+".stdout"), ts.MkAbs(name+".stderr")
	for file, to := range map[string]*io.Writer{s.stdout: &s.cmd.Stdout, s.stderr: &s.cmd.Stderr} {
		f, err := os.Create(file)
		ts.Check(err)
		defer f.Close()
		*to = f
	}
	ts.Check(s.cmd.Start())
	go func() { s.cmd.Wait(); close(s.exited) }()
	c.serving[name] = s
	for began := time.Now(); !strings.HasSuffix(readAll(s.stdout), "\n"); time.Sleep(5 * time.Millisecond) {
		select {
		case <-s.exited:
			ts.Fatalf("%s ended: %v\n%s", name, s.cmd.ProcessState, readAll(s.stderr))
		default:
		}
		if time.Since(began) > time.Minute {
			ts.Fatalf("%s is not ready after a minute\n%s", name, readAll(s.stderr))
		}
	}
	c.learn(ts, name, readAll(s.stdout))
	if recorded {
		c.record(ts, typed(args)+" &", readAll(s.stdout), "", 0)
	}
}

// usualPorts are those a user sees who says nothing of ports.
var usualPorts = map[string]int{"ORDERS": 7400, "BILLING": 7500, "CONTROL": 7410}

// learn reads addresses from the first words of what was started.
func (c *console) learn(ts *testscript.TestScript, name, said string) {
	type listeners struct{ API, Peer, Admin, XDS string }
	var ready struct {
		listeners
		Sidecars map[string]listeners
	}
	if json.Unmarshal([]byte(said), &ready) != nil { // the words of dev for people
		found := loopback.FindAllString(said, 6)
		if len(found) < 6 {
			ts.Fatalf("%s says %s", name, said)
		}
		ready.Sidecars = map[string]listeners{
			"orders":  {API: found[0], Peer: found[1], Admin: found[2]},
			"billing": {API: found[3], Peer: found[4], Admin: found[5]},
		}
	}
	all := ready.Sidecars
	if all == nil {
		all = map[string]listeners{name: ready.listeners}
	}
	for name, at := range all {
		name = strings.ToUpper(name)
		for i, l := range []struct{ kind, addr string }{{"API", at.API + at.XDS}, {"PEER", at.Peer}, {"ADMIN", at.Admin}} {
			if l.addr == "" {
				continue
			}
			ts.Setenv(name+"_"+l.kind, l.addr)
			if usualPorts[name] != 0 {
				c.shown[l.addr] = fmt.Sprintf("127.0.0.1:%d", usualPorts[name]+i)
			}
		}
	}
}

// interrupt is Ctrl-C, and what is printed from then on.
func (c *console) interrupt(ts *testscript.TestScript, name string) {
	s := c.serving[name]
	if s == nil {
		ts.Fatalf("there is no %s", name)
	}
	said := len(readAll(s.stdout))
	ts.Check(s.cmd.Process.Signal(os.Interrupt))
	select {
	case <-s.exited:
	case <-time.After(time.Minute):
		ts.Fatalf("%s still runs a minute after it was to stop\n%s", name, readAll(s.stderr))
	}
	c.record(ts, "^C", readAll(s.stdout)[said:], readAll(s.stderr), s.cmd.ProcessState.ExitCode())
}

// end leaves nothing running.
func (c *console) end() {
	for _, s := range c.serving {
		s.cmd.Process.Kill()
		<-s.exited
	}
}
