package journal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pannier/journal"
)

// A directory in place of a file is named as such by a start and by verify, and is kept like what
// is damaged.
func TestDirectoryInPlaceOfAFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"000001.sst", "00001.mem"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _, _ := halves(t)
			path := filepath.Join(w.dir, "store", name)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			const words = "it is a directory: move that away, and bring the file back"
			w.wantDamage(name + ": " + words)
			r, err := journal.Verify(w.dir)
			if err != nil || len(r.Damages) == 0 || !strings.HasSuffix(r.Damages[0].What, name+": "+words) {
				t.Errorf("verify: %v, %v", r.Damages, err)
			}
			w.goOn()
			if kept, _ := filepath.Glob(filepath.Join(w.dir, "lost", name+"-*", name)); len(kept) != 1 {
				t.Errorf("kept are %v", kept)
			}
			w.holds()
		})
	}
}
