package proxy_test

import (
	"testing"

	"pannier/proxy"
)

// However few files there are, the journal keeps some and each listener has room;
// however many, memory is bounded.
func TestSharesOfFiles(t *testing.T) {
	t.Parallel()
	for _, files := range []uint64{0, 100, 300, 512, 1024, 4096, 65_536, 1 << 20, 1<<64 - 1} {
		each := proxy.Shares(files)
		for _, n := range each {
			if n < 16 || n > 16_384 {
				t.Errorf("of %d files one gets %d", files, n)
			}
		}
		api, peer, operators, dials, calls := each[0], each[1], each[2], each[3], each[4]
		if sum := uint64(api + peer + 3*operators + dials + calls); files >= 512 && sum > files-max(256, files/2) {
			t.Errorf("of %d files all get %d", files, sum)
		}
	}
}
