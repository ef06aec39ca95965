package state_test

import (
	"regexp"
	"strings"
	"testing"

	"pannier/journal/state"
)

// Each reason has a name of its own, and says what has happened and what to do.
func TestReasons(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range state.Reasons() {
		for _, s := range []string{r.Sentence(), r.Remedy()} {
			if !strings.HasSuffix(s, ".") || s[:1] != strings.ToUpper(s[:1]) {
				t.Errorf("%s: %q is no sentence", r, s)
			}
		}
		if back, ok := state.ParseReason(r.String()); seen[r.String()] || !ok || back != r {
			t.Errorf("%s reads back as %v", r, back)
		}
		seen[r.String()] = true
	}
	if got := len(state.Reasons()); got != int(state.ReasonStepTimeout) {
		t.Errorf("%d reasons listed, the last one is number %d", got, state.ReasonStepTimeout)
	}
}

// An event begins a delay of the table or none.
func TestEventsBeginDelays(t *testing.T) {
	t.Parallel()
	want := map[state.EventType]state.Cause{state.EventSubmitted: state.CauseScheduled, state.EventDeliveryFailed: state.CauseBackingOff}
	for e := range state.EventTransfer + 1 {
		if got := e.Begins(); got != want[e] {
			t.Errorf("%s begins %q, want %q", e, got, want[e])
		}
	}
}

func TestCauses(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[string]bool{}
	for _, c := range state.Causes() {
		switch name, s := c.String(), c.Sentence(); {
		case !code.MatchString(name):
			t.Errorf("cause %d has the code %q", c, name)
		case seen[name]:
			t.Errorf("two causes are called %s", name)
		case !strings.HasSuffix(s, ".") || len(s) < 20 || s[:1] != strings.ToUpper(s[:1]):
			t.Errorf("%s is no sentence: %q", name, s)
		}
		if r := c.Remedy(); !strings.HasSuffix(r, ".") || r[:1] != strings.ToUpper(r[:1]) {
			t.Errorf("%s: what to do about it is no sentence: %q", c, r)
		}
		seen[c.String()] = true
		if back, ok := state.ParseCause(c.String()); !ok || back != c {
			t.Errorf("%s reads back as %v", c, back)
		}
	}
	if _, ok := state.ParseCause(""); ok {
		t.Error("no code is a code")
	}
	if got := len(state.Causes()); got != int(state.CauseClock) {
		t.Errorf("%d causes listed, the last one is number %d", got, state.CauseClock)
	}
}
