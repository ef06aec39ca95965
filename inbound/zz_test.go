package inbound_test

import ("testing";"time";"pannier/journal")

func TestZZ(t *testing.T) {
	w := setup(t, fast())
	w.accept(600)
	for done := 0; done < 600; {
		t0 := time.Now()
		a := w.ready(200)
		t1 := time.Now()
		n := w.take(300)
		t2 := time.Now()
		b := w.ready(200)
		t3 := time.Now()
		w.settle(journal.Ack, append(a, b...)...)
		done += len(a) + len(b)
		t.Logf("ready %d %s, take %d %s, ready %d %s, settle %s", len(a), t1.Sub(t0), n, t2.Sub(t1), len(b), t3.Sub(t2), time.Since(t3))
	}
}
