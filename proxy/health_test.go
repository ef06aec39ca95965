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
		{journal.Stats{Loss: "7 batches that were acknowledged are gone"}, "--accept-loss: 7 batches"},
	} {
		got := proxy.RecordsCheck(c.stats)
		if got.OK != (c.says == "") || !got.Advice || !strings.Contains(got.Detail, c.says) {
			t.Errorf("%+v, want it to say %q", got, c.says)
		}
	}
}
