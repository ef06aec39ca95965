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
	}{
		"":        {spoil: func(*journal.Stats) {}},
		"journal": {failed: errors.New("disk gone"), down: true, spoil: func(*journal.Stats) {}},
		"durable": {spoil: func(s *journal.Stats) { s.Durable = false }},
		"space":   {spoil: func(s *journal.Stats) { s.Volume.Low = true }},
		"files":   {spoil: func(s *journal.Stats) { s.Files.Short = true }},
		"clock":   {spoil: func(s *journal.Stats) { s.Clock = journal.Clock{Paused: true, Ahead: time.Hour} }},
		"records": {spoil: func(s *journal.Stats) { s.Aside = 1 }},
	} {
		stats := journal.Stats{Durable: true}
		c.spoil(&stats)
		for _, got := range proxy.ChecksOf(stats, c.failed) {
			switch wrong := got.Name == check; {
			case got.OK == wrong, (got.Detail != "") != wrong:
				t.Errorf("%q is wrong: %s says %t: %q", check, got.Name, got.OK, got.Detail)
			case wrong && got.Advice == c.down:
				t.Errorf("%q is wrong: ready for all that: %t", check, got.Advice)
			}
		}
	}
}
