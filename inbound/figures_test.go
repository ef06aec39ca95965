package inbound_test

import (
	"testing"
	"time"

	"pannier/inbound"
)

// What is served here has figures; of a subscriber's own address there are none.
func TestFigures(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := setup(t, fast())
		w.m.Configure([]string{agent}, "local")
		w.m.Own([]string{"pannier/own"})
		w.m.Window(agent)
		w.m.Window("pannier/own")
		all, most := w.m.Figures()
		if most != inbound.DefaultOptions().MaxOpen || len(all) != 1 || all[0] != (inbound.AgentFigures{Agent: agent, Configured: true}) {
			t.Errorf("got %+v, at most %d", all, most)
		}
		time.Sleep(time.Minute)
		if all, _ = w.m.Figures(); len(all) != 1 || all[0].Door != inbound.NoReader {
			t.Errorf("after a minute without readers: %+v", all)
		}
	})
}
