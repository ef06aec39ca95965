package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startTime is how long a ready line may take.
const startTime = 30 * time.Second

// process is a child that says in one line of JSON that it is ready.
type process struct {
	name   string
	cmd    *exec.Cmd
	log    string // file of what it says on stderr
	ready  ready
	exited chan struct{} // closed when it has been waited for
}

// ready is the line, of a sidecar or of the echo.
type ready struct {
	API     string `json:"api"`
	Peer    string `json:"peer"`
	Admin   string `json:"admin"`
	Durable bool   `json:"durable"`
}

// start runs the program and waits for its ready line.
func start(ctx context.Context, name, dir, program string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Stderr = log
	p.cmd.Env = environment()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true, // Ctrl-C at a terminal is for us: we end them
		// Whoever kills us ends them, too. The kernel means the thread that started them,
		// and those of Go stay while no goroutine ends that is locked to one: none here is.
		Pdeathsig: syscall.SIGKILL,
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	line := make(chan []byte, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadBytes('\n')
		line <- text
		_ = p.cmd.Wait() // the state says the same
		close(p.exited)
	}()
	select {
	case text := <-line:
		if err := json.Unmarshal(text, &p.ready); err == nil {
			return p, nil
		}
	case <-time.After(startTime):
	case <-ctx.Done():
	}
	p.kill()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("%s did not start: %s", name, lastLine(p.log))
}

// environment is ours without what would configure a sidecar.
func environment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "PANNIER_") {
			kept = append(kept, entry)
		}
	}
	return kept
}

// stop ends a process, and says where it had ended before. It is killed: what it has
// stored is thrown away.
func (p *process) stop() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended by itself (%v): %s", p.name, p.cmd.ProcessState, lastLine(p.log))
	default:
		p.kill()
		return nil
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it fails where the process is gone
	<-p.exited
}

func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// tick is the unit of the times in /proc/PID/stat: USER_HZ, 100 on every Linux.
const tick = 10 * time.Millisecond

// spent is what a process has used since its start; zero where /proc does not say.
type spent struct {
	cpu    time.Duration
	faults int64 // minor: pages that were touched and not mapped
}

func spentBy(pid int) (s spent) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s
	}
	// The second field is the command in parentheses and may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return s
	}
	faults, err1 := strconv.ParseInt(fields[7], 10, 64)
	user, err2 := strconv.ParseInt(fields[11], 10, 64)
	system, err3 := strconv.ParseInt(fields[12], 10, 64)
	if errors.Join(err1, err2, err3) != nil {
		return s
	}
	return spent{time.Duration(user+system) * tick, faults}
}

// Memory of a process, in bytes. A sidecar maps its store: what is not Anon is
// pages of files, which the kernel takes back when it needs them.
type Memory struct {
	RSS  int64 `json:"rss"`
	Anon int64 `json:"rss_anon"`
}

func memory(pid int) (m Memory) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			m.RSS = kb << 10
		case "RssAnon":
			m.Anon = kb << 10
		}
	}
	return m
}
