package kubelet

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// launcher is the name under which this program starts itself to become a container's:
// a fork of a Go program cannot mount before it executes something.
const launcher = "kubelet-container"

func init() {
	if os.Args[0] != launcher {
		return
	}
	var c confinement
	err := json.Unmarshal([]byte(os.Args[1]), &c)
	if err == nil {
		err = c.become()
	}
	fmt.Fprintln(os.Stderr, "start container:", err)
	os.Exit(128)
}

// confinement is what a process is put into.
type confinement struct {
	NetNS      string // file of the network namespace
	Root       string
	ReadOnly   bool
	Mounts     []mount
	Dir        string // below the root
	UID, GID   int
	Groups     []int
	NoNewPrivs bool
	DropAll    bool
	Argv       []string
}

type mount struct {
	From, To string // To is below the root, and there
	ReadOnly bool
}

// command starts it with an environment; its pid, and what it hears and says, are the
// container's.
func (c *confinement) command(env []string) (*exec.Cmd, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{launcher, string(text)}, Env: env,
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}, nil
}

// become returns only with an error. Namespaces and users are a thread's, and so is
// what it executes.
func (c *confinement) become() error {
	runtime.LockOSThread()
	if err := enter(c.NetNS); err != nil {
		return err
	}
	if err := c.mount(); err != nil {
		return err
	}
	if err := errors.Join(unix.Chroot(c.Root), unix.Chdir(c.Dir)); err != nil {
		return fmt.Errorf("chroot %s, chdir %s: %w", c.Root, c.Dir, err)
	}
	if c.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no_new_privs: %w", err)
		}
	}
	if c.DropAll {
		for capability := range uintptr(unix.CAP_LAST_CAP + 1) {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
				return fmt.Errorf("drop capability %d: %w", capability, err)
			}
		}
	}
	if err := errors.Join(syscall.Setgroups(c.Groups), syscall.Setgid(c.GID), syscall.Setuid(c.UID)); err != nil {
		return fmt.Errorf("become %d:%d: %w", c.UID, c.GID, err)
	}
	// A change of user has undone it.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", c.Argv[0], syscall.Exec(c.Argv[0], c.Argv, os.Environ()))
}

// mount makes the root and what is in it, in a namespace that ends with the container.
func (c *confinement) mount() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	all := append([]mount{{c.Root, "/", false}}, c.Mounts...)
	for _, m := range all {
		to := filepath.Join(c.Root, m.To)
		if err := unix.Mount(m.From, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.From, to, err)
		}
	}
	if err := unix.Mount("proc", filepath.Join(c.Root, "proc"), "proc", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	all[0].ReadOnly = c.ReadOnly
	for _, m := range all {
		if to := filepath.Join(c.Root, m.To); m.ReadOnly {
			if err := unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				return fmt.Errorf("make %s read-only: %w", to, err)
			}
		}
	}
	return nil
}

// enter has this thread in a network namespace from here on.
func enter(file string) error {
	ns, err := open(file)
	if err != nil {
		return err
	}
	defer ns.close()
	return ns.enter()
}

// namespace is a file of one.
type namespace int

func open(file string) (namespace, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("network namespace %s: %w", file, err)
	}
	return namespace(fd), nil
}

func (n namespace) enter() error {
	if err := unix.Setns(int(n), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

func (n namespace) close() { unix.Close(int(n)) }
