package proxy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pannier/journal"
	"pannier/proxy"
)

// A journal that has failed, or whose disk has not answered for a while, is not ready.
func TestReadyAsLongAsTheJournalWrites(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stalled time.Duration
		failed  error
		says    string
	}{
		{0, nil, ""},
		{5 * time.Second, nil, "on its way to the disk for 5s"},
		{0, errors.New("commit: no"), "commit: no"},
		{30 * time.Second, errors.New("commit: no"), "commit: no"},
	} {
		got := proxy.JournalCheck(journal.Stats{Stalled: c.stalled}, c.failed)
		if got.OK != (c.says == "") || got.Advice || !strings.Contains(got.Detail, c.says) {
			t.Errorf("%+v, want it to say %q", got, c.says)
		}
	}
}

// What the journal has lost is said, and is no reason to take nothing any more.
func TestLostRecordsAreAdvice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		stats journal.Stats
		says  string
	}{
		{journal.Stats{Scrubs: 9}, ""},
		{journal.Stats{Aside: 3}, "3 records could not be read"},
		{journal.Stats{Rebuilt: 2}, "2 entries of indexes were not what was written"},
		{journal.Stats{Loss: "7 batches or more that were acknowledged are gone"}, "--accept-loss: 7 batches"},
	} {
		got := proxy.RecordsCheck(c.stats)
		if got.OK != (c.says == "") || !got.Advice || !strings.Contains(got.Detail, c.says) {
			t.Errorf("%+v, want it to say %q", got, c.says)
		}
	}
}

// TestHealthNamesWhatIsWrong: each thing that is wrong fails one check, which says so in words,
// and keeps the sidecar from being ready only where it could not take anything.
func TestHealthNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for check, c := range map[string]struct {
		spoil  func(s *journal.Stats)
		failed error
		down   bool // it is not ready for that
		idle   bool // nothing new is taken, which is said, too
		says   string
	}{
		"":        {spoil: func(*journal.Stats) {}},
		"journal": {failed: errors.New("disk gone"), down: true, idle: true, spoil: func(*journal.Stats) {}},
		"durable": {spoil: func(s *journal.Stats) { s.Durable = false }},
		"space": {idle: true, says: "nearly full, 3 MiB are free, and 6 MiB are needed: nothing new", spoil: func(s *journal.Stats) {
			s.Volume = journal.Volume{Low: true, Free: 3 << 20, EnoughFree: 5<<20 + 1, Inodes: 7, EnoughInodes: 7}
		}},
		"space ": {idle: true, says: "nearly full, 7 more files (inodes) can be made, and 8 are needed: nothing new", spoil: func(s *journal.Stats) {
			s.Volume = journal.Volume{Low: true, Free: 3 << 20, EnoughFree: 3 << 20, Inodes: 7, EnoughInodes: 8}
		}},
		"space  ":  {says: "is not known", spoil: func(s *journal.Stats) { s.Volume.Unknown = true }},
		"durable ": {says: "the system did not say", spoil: func(s *journal.Stats) { s.Durable, s.VolumeUnknown = false, true }},
		"journal ": {says: "on its way to the disk", down: true, idle: true, spoil: func(s *journal.Stats) { s.Stalled = time.Second }},
		"files":    {spoil: func(s *journal.Stats) { s.Files.Short = true }},
		"clock":    {spoil: func(s *journal.Stats) { s.Clock = journal.Clock{Paused: true, Ahead: time.Hour} }},
		"records":  {spoil: func(s *journal.Stats) { s.Aside = 1 }},
	} {
		stats := journal.Stats{Durable: true}
		c.spoil(&stats)
		for _, got := range proxy.ChecksOf(stats, c.failed) {
			wrong := got.Name == strings.TrimSpace(check)
			switch {
			case got.Name == "intake":
				if got.OK == c.idle || !got.Advice {
					t.Errorf("%q is wrong: it takes what is new: %t, advice: %t", check, got.OK, got.Advice)
				}
			case got.OK == wrong, (got.Detail != "") != wrong:
				t.Errorf("%q is wrong: %s says %t: %q", check, got.Name, got.OK, got.Detail)
			case wrong && got.Advice == c.down:
				t.Errorf("%q is wrong: ready for all that: %t", check, got.Advice)
			case wrong && !strings.Contains(got.Detail, c.says):
				t.Errorf("%q is wrong: it says %q, want %q", check, got.Detail, c.says)
			}
		}
	}
}
