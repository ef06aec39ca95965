package journal_test

import (
	"testing"

	"pannier/journal/state"
)

// More dead letters of an earlier schema than one commit brings to this one are all listed after
// one start.
func TestOldJournalOfMany(t *testing.T) {
	t.Parallel()
	const many = 1001
	w := setup(t)
	ids := w.acceptMany(many, "")
	if err := atOnce(many, func(i int) error { return w.j.Refuse(t.Context(), ids[i], 1, state.ReasonRejected, "no") }); err != nil {
		t.Fatal(err)
	}
	if err := w.j.MakeOld(ids...); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if got := w.j.Count('z'); got != many {
		t.Errorf("%d dead letters are listed, want %d", got, many)
	}
	w.whole()
}
