package checkup_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal/state"
	"pannier/proxy/checkup"
)

// answers are those of a sidecar, by path.
func answers(of map[string]string) checkup.Ask {
	return func(_ context.Context, path string) ([]byte, bool, error) {
		body, ok := of[path]
		if !ok {
			return []byte("{}"), false, nil
		}
		return []byte(body), false, nil
	}
}

// TestNothingNewIsTaken: a probe need not hear that nothing new is taken; who looks is told that it is
// wrong, and that one which is not stopping runs.
func TestNothingNewIsTaken(t *testing.T) {
	t.Parallel()
	a, err := checkup.Glance(t.Context(), answers(map[string]string{
		"/v1/admin/status": `{"checks":[{"name":"running","ok":true},{"name":"intake","ok":false,"detail":"no room","advice":true},{"name":"space","ok":false,"detail":"full","advice":true}]}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]checkup.Level{}
	for _, f := range a.Findings(time.Now(), "") {
		levels[f.About] = f.Level
	}
	for about, want := range map[string]checkup.Level{"runs": checkup.Fine, "takes intents": checkup.Wrong, "has room": checkup.Warning} {
		if got, there := levels[about]; !there || got != want {
			t.Errorf("%s: %v, %t, want %v", about, got, there, want)
		}
	}
}

// A glance asks for nothing that is read from a disk, and finds the same in it.
func TestGlance(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ago := now.Add(-3 * time.Hour).Format(time.RFC3339Nano)
	var asked []string
	all := answers(map[string]string{
		"/v1/admin/status":              `{"checks":[{"name":"journal","ok":false,"detail":"no space"}]}`,
		"/v1/admin/agents":              `{"agents":[{"agent":"agent://a/b/c","unsettled":2,"oldest":"` + ago + `","door":{"reason":"no_reader"}}]}`,
		"/v1/admin/destinations":        `{"destinations":[{"agent":"agent://a/b/d","waiting":3,"oldest":"` + ago + `","why":[{"code":"no_endpoint","text":"Nobody."}]}]}`,
		"/v1/admin/peers":               `{"peers":[{"address":"h:1","state":"down","held":1}]}`,
		"/v1/admin/dead-letters/groups": `{"groups":[{"count":4,"redriven":true,"oldest":"2000-01-01T00:00:00Z"},{"count":2,"oldest":"` + ago + `"}],"waiting_for_operator":{"count":1}}`,
	})
	a, err := checkup.Glance(t.Context(), func(_ context.Context, path string) ([]byte, bool, error) {
		asked = append(asked, path)
		return all(t.Context(), path)
	})
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(asked, func(p string) bool { return strings.Contains(p, "limit=") || strings.Contains(p, "secrets") }) {
		t.Errorf("asked for %q", asked)
	}
	var got []string
	for _, f := range checkup.Attention(a.Findings(now, "")) {
		got = append(got, f.Title()+" | "+f.Detail)
	}
	want := []string{
		"The journal takes no writes | no space",
		"The app of a/b/c takes nothing | 2 intents here, the oldest for 3 h. No app has asked for this agent's intents for a while; the next request gets it.",
		"What is sent to a/b/d waits | 3 intents due, the oldest for 3 h. Nobody.",
		"The sidecar at h:1 cannot be reached | down, holding 1 intent",
		"Intents ended undelivered | 2 intents, the oldest for 3 h",
		"Intents are out of attempts and wait for an operator | 1 intent",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A peer that nothing has come from for long is a warning, whatever its breaker says.
func TestPeerOutOfReach(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for peer, want := range map[string]string{
		`"state":"connecting","out_since":"` + now.Add(-9*time.Second).Format(time.RFC3339Nano) + `"`:                     "ok: connecting",
		`"state":"connecting","last_error":"cut","out_since":"` + now.Add(-20*time.Second).Format(time.RFC3339Nano) + `"`: "warning: connecting for 20 s: cut",
		`"state":"down","held":2,"out_since":"` + now.Format(time.RFC3339Nano) + `","given_up_at":"2030-01-02T03:04:05Z"`: "error: down, holding 2 intents, offered elsewhere from 2030-01-02T03:04:05Z",
		`"state":"journal_put_back","breaker":"open","last_error":"older"`:                                                "error: journal_put_back: " + state.CausePutBack.Sentence(),
	} {
		a, err := checkup.Glance(t.Context(), answers(map[string]string{"/v1/admin/peers": `{"peers":[{"address":"h:1",` + peer + `}]}`}))
		if err != nil {
			t.Fatal(err)
		}
		all := a.Findings(now, "")
		i := slices.IndexFunc(all, func(f checkup.Finding) bool { return f.Group == "peers" })
		if got := string(all[i].Level) + ": " + all[i].Detail; got != want {
			t.Errorf("of %s it says %q, want %q", peer, got, want)
		}
	}
}

// What cannot be asked is an error; what is unknown there is left out, and said to be.
func TestLookAtAnotherVersion(t *testing.T) {
	t.Parallel()
	gone := errors.New("no such page")
	a, err := checkup.Glance(t.Context(), func(_ context.Context, path string) ([]byte, bool, error) {
		if path == "/v1/admin/xds" {
			return nil, true, gone
		}
		return []byte("{}"), false, nil
	})
	if err != nil || !slices.Equal(a.Lacks, []string{"xds"}) {
		t.Errorf("lacks %v, %v", a.Lacks, err)
	}
	if _, err := checkup.Glance(t.Context(), func(context.Context, string) ([]byte, bool, error) { return nil, false, gone }); !errors.Is(err, gone) {
		t.Errorf("of one out of reach: %v", err)
	}
}

// What a sidecar reads from a disk that hangs is not waited for: the rest is told, and what is
// missing.
func TestLookWhileTheDiskHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, err := checkup.Look(t.Context(), func(ctx context.Context, path string) ([]byte, bool, error) {
			if strings.HasPrefix(path, "/v1/admin/dead-letters") {
				<-ctx.Done()
				return nil, false, ctx.Err()
			}
			return []byte("{}"), false, nil
		})
		want := []string{"dead_letters", "waiting_for_operator", "secrets"}
		if err != nil || !slices.Equal(a.Late, want) {
			t.Fatalf("%v are late, %v; want %v", a, err, want)
		}
		var told []string
		for _, f := range checkup.Attention(a.Findings(time.Now(), "")) {
			if !strings.Contains(f.Detail, "disk") || !strings.Contains(f.Detail, "memory") {
				t.Errorf("one of two causes is not named: %q", f.Detail)
			}
		}
		for _, f := range checkup.Attention(a.Findings(time.Now(), "")) {
			told = append(told, f.About)
		}
		if !slices.Equal(told, []string{"dead letters", "waiting for operator", "secrets"}) {
			t.Errorf("told of %q", told)
		}
	})
}
