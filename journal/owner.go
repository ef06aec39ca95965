package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// owner says which process has the journal, for volumes that several hosts can mount: the
// lock on the directory holds among processes of one kernel only. Whoever starts where a
// process of another kernel has not said that it is done asks it, through this file: it
// claims the journal, and waits. A process that lives looks at the file once a second, and
// writes itself into it again; where it does not, it is gone. One that was frozen for
// longer than that finds another owner when it wakes, and stops as for a failed commit.
// (On a file system that shows what another host has written later than ownerWait this
// proves nothing; NFS shows it to whoever opens the file.)
type owner struct {
	Version  int    `json:"version"`
	Instance string `json:"instance"` // of this start
	Host     string `json:"hostname"`
	Boot     string `json:"boot_id"` // of the kernel
	Claimed  bool   `json:"claimed"` // it waits to be told that somebody else has it
}

const (
	ownerName = "journal.owner"
	ownerLook = time.Second
	ownerWait = 4 * time.Second
)

// newOwner is this start of this process. What cannot be found out is left empty, and then
// is that of another host.
func newOwner() owner {
	host, _ := os.Hostname()
	return owner{Version: 1, Instance: NewID().String(), Host: host, Boot: bootID()}
}

// take makes o the owner of the journal in dir, whose lock it has.
func (o owner) take(dir string) error {
	was, err := readOwner(dir)
	if err != nil {
		return err
	}
	if was != nil && (was.Boot == "" || was.Boot != o.Boot) {
		if err := o.ask(dir, was); err != nil {
			return err
		}
	}
	return o.write(dir)
}

// ask claims the journal from a process of another kernel, which may be gone.
func (o owner) ask(dir string, was *owner) error {
	o.Claimed = true
	if err := o.write(dir); err != nil {
		return err
	}
	time.Sleep(ownerWait)
	is, err := readOwner(dir)
	if err != nil {
		return err
	}
	if is == nil || is.Instance != o.Instance {
		return fmt.Errorf("the journal in %s is in use on host %q; stop the process there, or name another directory", dir, was.Host)
	}
	return nil // a crash here: whoever comes next asks us, and waits in vain as we did
}

// readOwner returns nil where nobody has the journal. A file that cannot be read as one is
// somebody's.
func readOwner(dir string) (*owner, error) {
	b, err := readFile(filepath.Join(dir, ownerName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read who has the journal: %w", err)
	}
	o := &owner{}
	if json.Unmarshal(b, o) != nil {
		return &owner{}, nil
	}
	return o, nil
}

func (o owner) write(dir string) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := replaceFile(dir, ownerName, append(b, '\n')); err != nil {
		return fmt.Errorf("write who has the journal: %w", err)
	}
	return nil
}

// release lets the next start begin without asking.
func (o owner) release(dir string) error {
	err := os.Remove(filepath.Join(dir, ownerName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// look answers who asks, and finds out whether somebody has taken the journal.
func (o owner) look(dir string) error {
	is, err := readOwner(dir)
	switch {
	case err != nil:
		return nil // what is wrong with the disk, a commit will tell
	case is != nil && is.Instance == o.Instance:
		return nil
	case is == nil, is.Claimed:
		return o.write(dir)
	}
	return fmt.Errorf("the journal in %s was taken by a process on host %q, while this one stood still", dir, is.Host)
}

func (j *Journal) ownerLoop(ctx context.Context) {
	tick := time.NewTicker(ownerLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := j.files.again(func() error { return j.owner.look(j.dir) }); err != nil {
			j.fail(err)
			return
		}
	}
}
