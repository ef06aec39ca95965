package journal_test

import (
	"os"
	"path/filepath"
	"testing"

	"pannier/journal"
)

// Badger's next memtable is found wherever one or more have come, and only there.
func TestMemtableAfter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, row := range []struct {
		add       []string
		was, want int
	}{
		{nil, 0, 0},
		{[]string{"00001.mem"}, 0, 1},
		{[]string{"00002.mem", "00003.mem"}, 1, 3},
		{[]string{"00003.sst", "000004.vlog"}, 3, 3},
		{[]string{"99999.mem", "100000.mem"}, 99998, 100000},
	} {
		for _, name := range row.add {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := journal.MemtableAfter(dir, row.was); err != nil || got != row.want {
			t.Errorf("after %v came: %d, %v; want %d", row.add, got, err, row.want)
		}
	}
}
