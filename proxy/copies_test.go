package proxy_test

import (
	"strings"
	"testing"

	"pannier/journal"
	"pannier/proxy"
)

// The check says to which sidecar something is to be done, and names few of many.
func TestCopiesCheckNamesTheSidecar(t *testing.T) {
	t.Parallel()
	self, other := journal.NewID(), journal.NewID()
	mine, theirs := &journal.OldCopy{Journal: self}, &journal.OldCopy{Journal: other}
	for _, c := range []struct {
		found map[string]*journal.OldCopy
		says  []string
	}{
		{nil, nil},
		{map[string]*journal.OldCopy{"a:1": mine, "b:1": mine}, []string{"THIS sidecar's journal", "with a:1, b:1: stop it and start it once with --accept-loss"}},
		{map[string]*journal.OldCopy{"a:1": theirs}, []string{"with a:1 (journal " + other.String() + "), whose journal", "stop that sidecar, and not this one"}},
		{map[string]*journal.OldCopy{"a:1": theirs, "b:1": mine}, []string{"with b:1: stop it", "; nothing is exchanged with a:1"}},
		{map[string]*journal.OldCopy{"a:1": mine, "b:1": mine, "c:1": mine, "d:1": mine, "e:1": mine}, []string{"with a:1, b:1, c:1 and 2 more: stop it"}},
	} {
		got := proxy.CopiesCheck(self, c.found)
		if got.OK != (c.says == nil) || !got.Advice {
			t.Errorf("%+v of %v", got, c.found)
		}
		for _, words := range c.says {
			if !strings.Contains(got.Detail, words) {
				t.Errorf("it says %q, and not %q", got.Detail, words)
			}
		}
	}
}
