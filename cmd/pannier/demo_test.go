package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// audience sees what a demo prints, and acts on the first line that it waits for.
type audience struct {
	bytes.Buffer
	waits *regexp.Regexp
	act   func(found []string)
}

func (a *audience) Write(p []byte) (int, error) {
	n, err := a.Buffer.Write(p)
	if found := a.waits.FindStringSubmatch(a.String()); found != nil && a.act != nil {
		act := a.act
		a.act = nil
		act(found)
	}
	return n, err
}

// opened is a stage with both sidecars, for as long as the test.
func opened(t *testing.T, a *audience) *stage {
	t.Helper()
	s := &stage{out: a, dir: t.TempDir()}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); s.running.Wait() })
	if err := s.set(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDemoOfARefusal: somebody there decides, and a refusal ends it without billing.
func TestDemoOfARefusal(t *testing.T) {
	t.Parallel()
	a := &audience{waits: regexp.MustCompile(`inbox approve (\S+) --as (\S+) --addr (\S+)`)}
	a.act = func(found []string) {
		_, err := clientOf(found[3]).call(context.Background(), request{
			doing: "reject", method: http.MethodPost, path: intentPath(found[1]) + "/resume",
			body: json.RawMessage(`{"task_result":{"outcome":"rejected","comment":"no invoice"}}`),
		})
		if err != nil {
			t.Error(err)
		}
	}
	if err := (approvalPlay{patience: time.Minute}).play(t.Context(), opened(t, a)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"manager has not approved it", "billing is never given it", `"status":"CANCELED"`, "rejected: no invoice"} {
		if !strings.Contains(a.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, a.String())
		}
	}
}

// TestDemoWithoutAPerson: it does not wait for ever, and says how long.
func TestDemoWithoutAPerson(t *testing.T) {
	t.Parallel()
	a := &audience{waits: regexp.MustCompile(`$`)}
	err := approvalPlay{patience: time.Millisecond}.play(t.Context(), opened(t, a))
	if f := (*failure)(nil); !errors.As(err, &f) || f.exit != exitTimeout || !strings.Contains(f.what, "manager has not decided in 1ms") {
		t.Errorf("nobody decides, and it ends with %v", err)
	}
}

// TestDemoLeavesNothing: not when it is interrupted, either.
func TestDemoLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, interrupt := context.WithCancel(t.Context())
	a := &audience{waits: regexp.MustCompile(`(?m)^2\. billing`), act: func([]string) { interrupt() }}
	var said bytes.Buffer
	if code := execute(ctx, ctx, []string{"demo", "outage"}, strings.NewReader(""), a, &said); code != exitError || !strings.Contains(said.String(), "interrupted") {
		t.Errorf("interrupted it ends with %d and says %q", code, said.String())
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}
