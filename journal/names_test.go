package journal_test

import (
	"context"
	"sync"
	"testing"
	"time"
)

// TestBindingIsKept: beside being learned, and beside the numbers of hand-overs.
func TestBindingIsKept(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := context.Background()
	w.accept()
	h := w.local(time.Minute)
	var both sync.WaitGroup
	both.Go(func() {
		if err := w.j.SetBinding(ctx, billing, "http:http://127.0.0.1:1"); err != nil {
			t.Error(err)
		}
	})
	both.Go(func() {
		if _, err := w.j.Learn(ctx, billing); err != nil {
			t.Error(err)
		}
	})
	both.Wait()
	for range 2 {
		a := w.j.Agents()
		if len(a) != 1 || !a[0].Learned || a[0].Binding != "http:http://127.0.0.1:1" || w.j.LastSeq(a[0].Agent) < h.Seq {
			t.Errorf("agents %+v", a)
		}
		w.reopen()
	}
	if err := w.j.SetBinding(ctx, billing, ""); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if a := w.j.Agents(); a[0].Binding != "" || !a[0].Learned {
		t.Errorf("after it was taken back: %+v", a)
	}
}
