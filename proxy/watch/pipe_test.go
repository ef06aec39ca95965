package watch_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pannier/proxy/watch"
)

// A named pipe is refused with the setting that names it, and not waited for.
func TestNamedPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f := &watch.File{Key: "keyring", Kind: "keyring", Path: path, Take: func([]byte) ([]any, error) { return nil, nil }}
	opened := make(chan error, 1)
	go func() { opened <- f.Open() }()
	select {
	case err := <-opened:
		if err == nil || !strings.HasPrefix(err.Error(), "keyring: ") || !strings.Contains(err.Error(), "a named pipe, want a regular file") {
			t.Errorf("%v, want the setting and what is wrong with it", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for somebody to write into it")
	}
}
