package journal_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"pannier/journal"
)

// BenchmarkLife is what one intent costs both journals, without what is between
// them: accept, held, lease, settle, report, ack. batch is how many go together,
// so that the cost of a commit and that of an intent can be told apart. CPU is of
// the process, Badger's goroutines and the collector's included.
func BenchmarkLife(b *testing.B) {
	for _, row := range []struct {
		name  string
		batch int
	}{{"batch=1", 1}, {"batch=16", 16}, {"batch=64", 64}} {
		b.Run(row.name, func(b *testing.B) { benchmarkLife(b, row.batch) })
	}
}

func benchmarkLife(b *testing.B, batch int) {
	home, holder := openBench(b), openBench(b)
	from, to := home.Identity(), holder.Identity()
	ctx := context.Background()
	payload := make([]byte, 1024)
	b.ReportAllocs()
	began, commits := cpu(), home.Stats().Seq+holder.Stats().Seq
	b.ResetTimer()
	reported := uint64(0)
	for done := 0; done < b.N; done += batch {
		in := make([]journal.Accept, min(batch, b.N-done))
		for i := range in {
			in[i].Envelope = envelope()
			in[i].Envelope.Payload = payload
		}
		if _, err := home.Accept(ctx, in); err != nil {
			b.Fatal(err)
		}
		no, _ := home.AgentNo(in[0].Envelope.ToAgent)
		offers, _, err := home.Due(no, time.Now(), len(in), func(journal.ID) bool { return false })
		if err != nil || len(offers) != len(in) {
			b.Fatalf("%d offers, %v", len(offers), err)
		}
		requests := make([]journal.HoldRequest, len(offers))
		ids, nos := make([]journal.ID, len(offers)), make([]uint64, len(offers))
		for i, o := range offers {
			requests[i] = journal.HoldRequest{Envelope: o.Envelope, OfferNo: o.OfferNo, Lease: journal.Terms{For: time.Minute}}
			ids[i], nos[i] = o.ID, o.OfferNo
		}
		held := make(chan []journal.HoldResult, 1)
		holder.Hold(from, requests, func(res []journal.HoldResult, err error) { held <- res })
		settles := make([]journal.Settle, len(offers))
		for i, r := range <-held {
			settles[i] = journal.Settle{ID: r.ID, Lease: r.Handed.Lease, Action: journal.Ack}
		}
		home.RecordHeld(to, ids, nos, false, func() {})
		if _, err := holder.Settle(ctx, settles); err != nil {
			b.Fatal(err)
		}
		for {
			list, err := holder.Reports(from.Journal, reported, 512)
			if err != nil {
				b.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			type applied struct {
				acked []journal.Acked
				upTo  uint64
				err   error
			}
			finished := make(chan applied, 1)
			home.Apply(to, list, func(acked []journal.Acked, upTo uint64, err error) { finished <- applied{acked, upTo, err} })
			a := <-finished
			if a.err != nil {
				b.Fatal(a.err)
			}
			reported = a.upTo
			if err := holder.AckReports(ctx, from.Journal, a.upTo, a.acked); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(home.Stats().Seq+holder.Stats().Seq-commits)/float64(b.N), "commits/op")
}

func openBench(b *testing.B) *journal.Journal {
	b.Helper()
	j, err := journal.Open(journal.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { j.Close() })
	return j
}

// cpu is what the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
