package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestFileCreatedAndNotYetSized: a kill between the creation of one of the
// store's files and its first byte leaves it empty. Nothing was in it, and
// nothing keeps the journal from opening.
func TestFileCreatedAndNotYetSized(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"mem", "vlog"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t, setup{name: "alone", agents: []string{billing}})
			acked := map[string]string{s.post(billing, map[string]any{"key": "k"}): "k"}
			s.kill()
			files, err := filepath.Glob(filepath.Join(s.dir, "store", "*."+kind))
			if err != nil || len(files) == 0 {
				t.Fatalf("no %s file in the store: %v", kind, err)
			}
			name := filepath.Base(files[len(files)-1])
			var number int
			if _, err := fmt.Sscanf(name, "%d."+kind, &number); err != nil {
				t.Fatal(err)
			}
			next := fmt.Sprintf("%0*d.%s", len(name)-len(kind)-1, number+1, kind)
			if err := os.WriteFile(filepath.Join(s.dir, "store", next), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			s.start()
			if got := finals(s, acked); len(got) != 1 {
				t.Error("the acked intent is gone")
			}
			s.ack(s.take1(billing, take{}), nil)
			s.kill()
			s.verify()
		})
	}
}
