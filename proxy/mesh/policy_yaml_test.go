package mesh_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pannier/outbound"
	"pannier/proxy/mesh"
	"pannier/proxy/yaml"
)

func read(t *testing.T, text string) (mesh.Policies, error) {
	t.Helper()
	top, err := yaml.ParseMapping("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return mesh.ReadPolicies("p.yaml", top[0].Value, func(s string) (string, error) { return s, nil })
}

// TestPolicyHasEveryField: what the policy type can say can be written, and is
// read into its own field.
func TestPolicyHasEveryField(t *testing.T) {
	t.Parallel()
	got, err := read(t, `policies:
  billing:
    paused: true
    max_requests: 7
    per_try_timeout: 2s
    backoff: {base: 100ms, max: 10s}
    breaker: {consecutive: 3, interval: 90s, base_ejection: 4s, max_ejection: 40s, max_ejection_percent: 50}
    fault: {delay: 30ms, delay_percent: 12.5, abort_percent: 1}
    split: [{subset: stable, weight: 95}, {subset: canary, weight: 5}]
`)
	want := outbound.Policy{
		Paused: true, MaxRequests: 7, PerTryTimeout: 2 * time.Second,
		Backoff: outbound.Backoff{Base: 100 * time.Millisecond, Max: 10 * time.Second},
		Breaker: outbound.BreakerPolicy{Consecutive: 3, Interval: 90 * time.Second, BaseEjection: 4 * time.Second, MaxEjection: 40 * time.Second, MaxEjectionPercent: 50},
		Fault:   outbound.Fault{Delay: 30 * time.Millisecond, DelayPercent: 12.5, AbortPercent: 1},
		Split:   []outbound.Share{{Subset: "stable", Weight: 95}, {Subset: "canary", Weight: 5}},
	}
	if p := got.For("billing"); err != nil || !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v, %v\nwant %+v", p, err, want)
	}
	var unset func(path string, v reflect.Value)
	unset = func(path string, v reflect.Value) {
		if v.IsZero() {
			t.Errorf("%s is in no key of the test: give it one", path)
		}
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				unset(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	unset("Policy", reflect.ValueOf(want))
}

func TestPolicyRefusals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, yaml, want string }{
		{"a list", "policies: [a]", `p.yaml:1:11: policies: got a list, want a mapping of addresses, "PREFIX/*" or "*" to policies`},
		{"no policy", "policies:\n  a: 1", `p.yaml:2:6: got an integer, want settings of the form "key: value"`},
		{"an unknown key", "policies:\n  a:\n    max_request: 1", `p.yaml:3:5: max_request: not a setting of a policy (did you mean "max_requests"?)`},
		{"an unknown key below", "policies:\n  a:\n    breaker:\n      intervall: 1s", `p.yaml:4:7: breaker.intervall: not a setting of a policy (did you mean "interval"?)`},
		{"a flag", "policies:\n  a: {paused: \"yes\"}", `p.yaml:2:15: paused: got a string, want true or false, without quotes`},
		{"no number", "policies:\n  a: {max_requests: 0}", `p.yaml:2:21: max_requests: 0; use at least 1, or leave it out`},
		{"no unit", "policies:\n  a: {per_try_timeout: 3}", `p.yaml:2:24: per_try_timeout: got an integer, want a duration such as "500ms", "30s" or "72h"`},
		{"too short", "policies:\n  a: {per_try_timeout: 1ms}", `p.yaml:2:24: per_try_timeout: 1ms; use 10ms to 1h0m0s`},
		{"max below base", "policies:\n  a:\n    backoff: {base: 2s, max: 1s}", `p.yaml:3:30: backoff.max: 1s is less than base (2s); use at least that`},
		{"percent", "policies:\n  a:\n    fault: {abort_percent: 101}", `p.yaml:3:28: fault.abort_percent: 101; use 0 to 100`},
		{"a share of nothing", "policies:\n  a:\n    split: [{subset: x}]", `p.yaml:3:13: split: a share has a subset and a weight, such as {subset: stable, weight: 95}`},
		{"no weight at all", "policies:\n  a:\n    split: [{subset: x, weight: 0}]", `p.yaml:3:12: split: every weight is 0; pause the destination, or leave the split out`},
		{"twice", "policies:\n  a:\n    split: [{subset: x, weight: 1}, {subset: x, weight: 2}]", `p.yaml:3:12: split: subset "x" is listed twice`},
		{"all at once", "policies:\n  a: {pause: true}\n  b: {fault: {dely: 1s}}", "p.yaml:2:7: pause: not a setting of a policy (did you mean \"paused\"?)\np.yaml:3:15: fault.dely: not a setting of a policy (did you mean \"delay\"?)"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := read(t, row.yaml)
			if err == nil {
				t.Fatalf("accepted, want: %s", row.want)
			}
			if err.Error() != row.want {
				t.Errorf("got:\n%s\nwant:\n%s", err, row.want)
			}
		})
	}
}

// TestPoliciesMatch: the most specific pattern decides, and pauses add up.
func TestPoliciesMatch(t *testing.T) {
	t.Parallel()
	file, err := read(t, "policies:\n  \"agent://a/p/*\": {max_requests: 2}\n  \"*\": {max_requests: 1}\n  agent://a/p/x: {max_requests: 3}\n  \"agent://a/p/q/*\": {paused: true}\n")
	if err != nil {
		t.Fatal(err)
	}
	live, err := read(t, "policies:\n  \"*\": {paused: true}\n  agent://a/p/x: {max_requests: 9}\n")
	if err != nil {
		t.Fatal(err)
	}
	for agent, want := range map[string]outbound.Policy{
		"agent://a/p/x":   {MaxRequests: 3},
		"agent://a/p/y":   {MaxRequests: 2},
		"agent://a/p":     {MaxRequests: 1},
		"agent://a/p/q/z": {Paused: true},
	} {
		if got := file.For(agent); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", agent, got, want)
		}
	}
	both := live.Over(file)
	if got := both.For("agent://a/p/x"); got.MaxRequests != 9 || !got.Paused {
		t.Errorf("over the file: %+v, want 9 and paused", got)
	}
	if got := both.For("agent://a/p/y"); got.MaxRequests != 2 || !got.Paused {
		t.Errorf("of the file: %+v, want 2 and paused", got)
	}
	if got := (mesh.Policies{}).For("x"); !reflect.DeepEqual(got, outbound.Policy{}) {
		t.Errorf("nothing said, and %+v", got)
	}
}

func FuzzPolicies(f *testing.F) {
	for _, s := range []string{"p: {}", "p: {a: {split: [1]}}", "p: {a: {breaker: [], fault: {delay: 1s}}}", "p: {a: {split: [{subset: a, weight: 1}]}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		top, err := yaml.ParseMapping("f", []byte(text))
		if err != nil || len(top) == 0 {
			return
		}
		got, err := mesh.ReadPolicies("f", top[0].Value, func(s string) (string, error) { return s, nil })
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("%v names no place", err)
			}
			return
		}
		if err := got.For("agent://a/b/c").Validate(); err != nil {
			t.Errorf("accepted, and invalid: %v", err)
		}
	})
}
