package proxy_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pannier/proxy"
)

// What a fresh volume has is nobody's, and once there is a journal nothing is said any more.
func TestStrangersInTheDirectoryOfAJournal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ has, want []string }{
		{nil, nil},
		{[]string{"lost+found"}, nil},
		{[]string{"journal.owner", "secrets"}, nil},
		{[]string{"passwd", "lost+found", "hosts"}, []string{"hosts", "passwd"}},
		{[]string{"passwd", "store"}, nil},
	} {
		dir := t.TempDir()
		for _, name := range c.has {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := proxy.StrangersIn(dir); !slices.Equal(got, c.want) {
			t.Errorf("of %q these are strangers: %q, want %q", c.has, got, c.want)
		}
	}
	if got := proxy.StrangersIn(filepath.Join(t.TempDir(), "none")); got != nil {
		t.Errorf("of no directory: %q", got)
	}
}
