//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

var armed = func() (state struct {
	sync.Mutex
	name string
	left int
	seen map[string]bool
	log  string
}) {
	name, count, found := strings.Cut(os.Getenv("PANNIER_FAILPOINT"), ":")
	state.name, state.left = name, 1
	if found {
		if n, err := strconv.Atoi(count); err == nil {
			state.left = n
		}
	}
	state.seen = map[string]bool{}
	state.log = os.Getenv("PANNIER_FAILPOINT_LOG")
	return
}()

// Hit ends the process, as kill -9 would, when name is the armed line.
func Hit(name string) {
	if name == "" {
		return
	}
	armed.Lock()
	defer armed.Unlock()
	if armed.log != "" && !armed.seen[name] {
		armed.seen[name] = true
		if f, err := os.OpenFile(armed.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintln(f, name)
			f.Close()
		}
	}
	if name != armed.name {
		return
	}
	armed.left--
	if armed.left == 0 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way; nothing after this line may run
	}
}
