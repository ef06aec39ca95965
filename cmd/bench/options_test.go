package bench

import (
	"path/filepath"
	"strings"
	"testing"
)

// A directory that is not there is told before anything is measured, and what to do.
func TestMissingDirectories(t *testing.T) {
	t.Parallel()
	o := DefaultOptions()
	o.Dir, o.Profiles = t.TempDir(), t.TempDir()
	if err := o.Validate(); err != nil {
		t.Errorf("both are there: %v", err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	o.Dir, o.Profiles = missing, missing
	err := o.Validate()
	for _, name := range []string{"dir", "pprof"} {
		if want := name + ": " + missing + " is no directory; make it first: mkdir -p " + missing; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
