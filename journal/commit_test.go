package journal_test

import (
	"testing"
	"time"
)

// An operation is judged by the time at which it runs, not by that at which the
// batch began that it is part of.
func TestEachOperationHasItsTime(t *testing.T) {
	t.Parallel()
	w := setup(t)
	gathers, holds, none := make(chan struct{}), make(chan struct{}), make(chan struct{})
	close(none)
	<-w.j.Queue(gathers) // what comes now is one batch
	held, later := w.j.Queue(holds), w.j.Queue(none)
	close(gathers)
	began := <-held
	called := time.Now()
	close(holds)
	if ran := <-later; ran.Before(called) {
		t.Errorf("judged by a clock %v behind its caller's, %v after the first of its batch", called.Sub(ran), ran.Sub(began))
	}
}
