package outbound_test

import (
	"testing"
	"time"

	"pannier/journal/state"
	"pannier/outbound"
)

func TestPause(t *testing.T) {
	t.Parallel()
	const lo, hi = time.Second, time.Minute
	for _, c := range []struct {
		n    int
		want time.Duration
	}{{-1, lo}, {0, lo}, {1, lo}, {2, 2 * lo}, {6, 32 * lo}, {7, hi}, {8, hi}, {40, hi}, {1 << 40, hi}} {
		if got := outbound.Pause(c.n, lo, hi, 0.5); got != c.want {
			t.Errorf("the middle after %d failures is %v, want %v", c.n, got, c.want)
		}
		if got := outbound.Pause(c.n, lo, hi, 0); got != c.want/2 {
			t.Errorf("the least after %d failures is %v, want %v", c.n, got, c.want/2)
		}
		if got := outbound.Pause(c.n, lo, hi, 1); got != c.want+c.want/2 {
			t.Errorf("the most after %d failures is %v, want %v", c.n, got, c.want+c.want/2)
		}
	}
}

func TestHoldOff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule  string
		asked time.Duration
		n     int
		r     float64
		want  time.Duration
	}{
		{"what is asked for is honoured", 3 * time.Second, 9, 0, 3 * time.Second},
		{"and spread upwards by a fifth", 10 * time.Second, 1, 1, 12 * time.Second},
		{"never nearly nothing", time.Millisecond, 1, 0, 50 * time.Millisecond},
		{"at most ten minutes and a fifth", 24 * time.Hour, 1, 1, 12 * time.Minute},
		{"nothing asked for: the first pause", 0, 1, 0.5, 50 * time.Millisecond},
		{"nothing asked for: it grows", 0, 3, 0.5, 200 * time.Millisecond},
		{"nothing asked for: up to the longest", 0, 60, 0.5, time.Minute},
		{"a negative time is none", -time.Hour, 1, 0.5, 50 * time.Millisecond},
	} {
		if got := outbound.HoldOff(c.asked, c.n, 50*time.Millisecond, time.Minute, c.r); got != c.want {
			t.Errorf("%s: %v, want %v", c.rule, got, c.want)
		}
	}
}

func TestPolicyPauses(t *testing.T) {
	t.Parallel()
	b := outbound.Backoff{Base: time.Second, Max: 5 * time.Second}
	for _, c := range []struct {
		rule string
		got  time.Duration
		want time.Duration
	}{
		{"full jitter has a floor", outbound.Jittered(1, b, 0), 50 * time.Millisecond},
		{"and ends at base", outbound.Jittered(1, b, 1), time.Second},
		{"it doubles", outbound.Jittered(3, b, 1), 4 * time.Second},
		{"up to max", outbound.Jittered(9, b, 1), 5 * time.Second},
		{"a base below the floor is the floor", outbound.Jittered(1, outbound.Backoff{Base: time.Millisecond, Max: time.Second}, 0), time.Millisecond},
		{"an ejection is n times base", outbound.Ejection(3, 10*time.Second, time.Minute, 0), 30 * time.Second},
		{"up to max", outbound.Ejection(99, 10*time.Second, time.Minute, 0), time.Minute},
		{"spread upwards by a fifth", outbound.Ejection(99, 10*time.Second, time.Minute, 1), 72 * time.Second},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.rule, c.got, c.want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, about string
		reason      state.Reason
		least       time.Duration
	}{
		{"busy", "agent", state.NoReason, 0},
		{"agent_unknown", "agent", state.NoReason, 5 * time.Second},
		{"draining", "endpoint", state.NoReason, time.Second},
		{"disk", "endpoint", state.NoReason, time.Second},
		{"version", "endpoint", state.NoReason, time.Minute},
		{"policy_denied", "intent", state.ReasonPolicyDenied, 0},
		{"too_large", "intent", state.ReasonTooLarge, 0},
		{"schema_invalid", "intent", state.ReasonSchemaInvalid, 0},
		{"made_up_by_a_later_version", "agent", state.NoReason, 5 * time.Second},
		{"", "agent", state.NoReason, 5 * time.Second},
	} {
		about, reason, least := outbound.Judge(c.code)
		if about != c.about || reason != c.reason.String() || least != c.least {
			t.Errorf("%q is about the %s, reason %q, pause %v; want %s, %q, %v", c.code, about, reason, least, c.about, c.reason, c.least)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	if err := outbound.DefaultOptions().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for key, spoil := range map[string]func(*outbound.Options){
		"offer_timeout":               func(o *outbound.Options) { o.OfferTimeout = 0 },
		"redial_min":                  func(o *outbound.Options) { o.RedialMin = -1 },
		"redial_max":                  func(o *outbound.Options) { o.RedialMax = o.RedialMin / 2 },
		"holder_lost_after":           func(o *outbound.Options) { o.HolderLostAfter = 0 },
		"holder_lost_after_ephemeral": func(o *outbound.Options) { o.HolderLostAfterEphemeral = 0 },
		"holder_moved_after":          func(o *outbound.Options) { o.HolderMovedAfter = 0 },
		"unclean_wait":                func(o *outbound.Options) { o.UncleanWait = 0 },
		"idle_close":                  func(o *outbound.Options) { o.IdleClose = 0 },
		"max_frame":                   func(o *outbound.Options) { o.MaxFrame = 1 },
		"max_in_flight_bytes":         func(o *outbound.Options) { o.MaxInFlightBytes = 1 },
	} {
		o := outbound.DefaultOptions()
		spoil(&o)
		err := o.Validate()
		if err == nil || len(err.Error()) < len(key) || err.Error()[:len(key)] != key {
			t.Errorf("a bad %s: %v", key, err)
		}
	}
}
