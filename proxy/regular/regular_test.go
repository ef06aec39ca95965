package regular_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pannier/proxy/regular"
)

// A file is opened, also through a link, and nothing else, nor waited for.
func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", at("link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "link"} {
		file, err := regular.Open(at(name))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(file); err != nil || string(text) != "text" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		file.Close()
	}
	for path, want := range map[string]string{
		at("pipe"):  "is a named pipe, want a regular file",
		dir:         "is a directory, want a regular file",
		"/dev/null": "is a device or socket, want a regular file",
		at("none"):  "no such file",
	} {
		if file, err := regular.Open(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want: %s", path, file, err, want)
		}
	}
}
