package journal_test

import (
	"context"
	"testing"

	"pannier/journal"
)

// BenchmarkAccept is what one POST costs below HTTP, with many clients.
func BenchmarkAccept(b *testing.B) {
	j, err := journal.Open(journal.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	payload := make([]byte, 1024)
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			e := envelope()
			e.Payload = payload
			if got, err := j.Accept(context.Background(), []journal.Accept{{Envelope: e}}); err != nil || got[0].Err != nil {
				b.Errorf("accept: %v", err)
				return
			}
		}
	})
	b.StopTimer()
	s := j.Stats()
	b.ReportMetric(float64(s.BatchSizes)/float64(s.Seq), "intents/commit")
}
