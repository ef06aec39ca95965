package metrics_test

import (
	"fmt"
	"testing"
	"time"

	"pannier/proxy/metrics"
)

func TestNames(t *testing.T) {
	t.Parallel()
	n := metrics.NewNames(2)
	for _, c := range []struct{ name, want string }{{"a", "a"}, {"b", "b"}, {"c", metrics.Other}, {"a", "a"}} {
		if got := n.Of(c.name); got != c.want {
			t.Errorf("%s is called %s, want %s", c.name, got, c.want)
		}
	}
	for i := range 10_000 {
		if got := n.Of(fmt.Sprint(i)); got != metrics.Other {
			t.Fatalf("%d is called %s", i, got)
		}
	}
	now := time.Now()
	if gone := n.Keep(map[string]bool{"a": true}, time.Minute, now); len(gone) != 0 {
		t.Errorf("%v have left before their time", gone)
	}
	if gone := n.Keep(map[string]bool{"a": true}, time.Minute, now.Add(2*time.Minute)); len(gone) != 1 || gone[0] != "b" {
		t.Errorf("%v have left, want b", gone)
	}
	if got := n.Of("c"); got != "c" {
		t.Errorf("c is called %s though there is room", got)
	}
}
