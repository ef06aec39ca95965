package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestAppsAtWorkKeepTheirPlaces: at the share of the app's listener a connection at rest makes
// way, and one that carries a request, or has carried a stream of what its app works on, does not. With
// all at work a new one is closed, and operators are told.
func TestAppsAtWorkKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	const places = 16
	s := startWithFiles(t, 320, setup{name: "taken", agents: []string{billing}})
	id := s.post(billing, map[string]any{"n": 1})
	reader := connect(t, s.api)
	_, body, err := reader.ask("GET", agentPath(billing, "/intents/stream")+"?wait_seconds=60", "")
	if err != nil {
		t.Fatal(err)
	}
	_, data, _ := strings.Cut(body, "data: ")
	data, _, _ = strings.Cut(data, "\n")
	given := itemOf(t, frame{data: data, id: "1"})
	for n := range places + 8 {
		if status, _, err := connect(t, s.api).ask("GET", "/v1/health", ""); status != http.StatusOK {
			t.Fatalf("connection %d of %d places: %d %v", n, places, status, err)
		}
	}
	status, body, err := reader.ask("POST", "/v1/intents/"+id+"/ack", fmt.Sprintf(`{"lease_id":%q}`, given.Lease))
	if status != http.StatusOK {
		t.Fatalf("an answer where the intent was read: %d %s %v", status, body, err)
	}
	for range places - 1 {
		connect(t, s.api).say("GET", agentPath(billing, "/intents")+"?wait_seconds=60", "")
	}
	eventually(t, "all places to be at work", func() error {
		if n := s.figure(`pannier_limit_used{limit="api_connections"}`); n != places {
			return fmt.Errorf("%v of %d are", n, places)
		}
		return nil
	})
	if status, _, err := connect(t, s.api).ask("GET", "/v1/health", ""); err == nil {
		t.Errorf("one more than there are places is answered %d", status)
	}
	const said = "the api listener turned a connection away"
	for verb, code := range map[string]int{"check": 0, "status": 1} {
		cmd := exec.Command(s.bin, verb, "--admin", s.admin)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != code || !strings.Contains(string(out), said) || !strings.Contains(string(out), "16 of 16 are open") || !strings.Contains(string(out), "raise the limit of open files") {
			t.Errorf("%s says %v\n%s", verb, err, out)
		}
	}
	if a := s.operate("GET", "/readyz?verbose", nil); a.code != http.StatusOK || !bytes.Contains(a.body, []byte(said)) {
		t.Errorf("readyz says %d %s", a.code, a.body)
	}
	if !strings.Contains(s.stderr(), "connections are turned away") {
		t.Error("the log does not say so")
	}
	if n := s.figure(`pannier_connections_turned_away_total{listener="api"}`); n != 1 {
		t.Errorf("%v connections were turned away, want 1", n)
	}
}

// connection is one of HTTP/1.1 to a listener, until the test ends.
type connection struct {
	net.Conn
	answers *bufio.Reader
}

func connect(t *testing.T, address string) *connection {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Duration(number(t, "E2E_PATIENCE", 60)) * time.Second))
	return &connection{c, bufio.NewReader(c)}
}

// say sends a request. An error is left to who reads the answer.
func (c *connection) say(method, path, body string) {
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
}

// ask sends a request and reads its answer. An error means that the connection has ended.
func (c *connection) ask(method, path, body string) (status int, text string, err error) {
	c.say(method, path, body)
	answer, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(all), err
}
