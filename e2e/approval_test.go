package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const (
	manager  = "agent://acme/people/manager"
	treasury = "agent://acme/people/treasury"
)

// gated is an intent that is not offered before two people have approved it, one after the
// other, and the end of it that its sender waits for.
type gated struct {
	t      testing.TB
	id     string
	title  string // of each of the two tasks
	waits  *exec.Cmd
	stdout bytes.Buffer
	ended  chan error
}

// sendGated sends one with curl, and waits with the command line, as people would.
func sendGated(t testing.TB, home *sidecar, intentType string, payload any) *gated {
	t.Helper()
	need(t, false, "curl")
	body, err := json.Marshal(message(shop, payload, map[string]any{"intent_type": intentType}, delivery("gates", []string{manager, treasury})))
	if err != nil {
		t.Fatal(err)
	}
	curl := exec.Command("curl", "-sS", "--fail-with-body", home.apiURL()+"/v1/intents", "-H", "Content-Type: application/json", "-d", "@-")
	curl.Stdin = bytes.NewReader(body)
	said, err := curl.CombinedOutput()
	var accepted struct {
		ID string `json:"intent_id"`
	}
	if err != nil || json.Unmarshal(said, &accepted) != nil || accepted.ID == "" {
		t.Fatalf("curl: %v: %s", err, said)
	}
	g := &gated{t: t, id: accepted.ID, title: "Approve " + intentType, ended: make(chan error, 1)}
	g.waits = exec.Command(home.bin, "wait", g.id, "--addr", home.api)
	g.waits.Env, g.waits.Stdout = cleanEnv(), &g.stdout
	g.waits.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.waits.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() { g.ended <- g.waits.Wait(); close(over) }()
	t.Cleanup(func() { g.waits.Process.Kill(); <-over })
	return g
}

// asks is the task of the gate with the given number.
func (g *gated) asks(home *sidecar, gate int) string {
	g.t.Helper()
	var now gatesOf
	home.call("GET", "/v1/intents/"+g.id, nil).into(g.t, &now)
	return now.Intent.Gates[gate].Asks
}

// returned is what the wait printed, once it has ended with the given exit code.
func (g *gated) returned(code int, words ...string) {
	g.t.Helper()
	err := <-g.ended
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		g.t.Fatal(err)
	}
	for _, want := range words {
		if got != code || !strings.Contains(g.stdout.String(), want) {
			g.t.Errorf("the wait for %s ended with %d and printed %s; want %d and %s", g.title, got, g.stdout.String(), code, want)
		}
	}
}
