package e2e_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestCommandLine is the README's round trip with the verbs, flags before and
// after the arguments, and the exit codes scripts branch on.
func TestCommandLine(t *testing.T) {
	d := startDev(t)
	sh := d.shell()
	run := func(code int, command string) string {
		t.Helper()
		out, got := sh.run(command)
		if got != code {
			t.Errorf("%s\nexit code %d, want %d: %s", command, got, code, out)
		}
		return strings.TrimSpace(out)
	}
	run(0, `id=$(pannier send --to dev/local/billing '{"order_id":"ORD-1"}' 2>/dev/null) && echo "$id"`)
	run(7, `pannier wait $id --timeout 200ms`)
	run(0, `lease=$(pannier poll dev/local/billing --addr localhost:7500 -o json | jq -r '.intents[0].lease_id')`)
	run(4, `pannier ack $id --lease 01890a5d-ac96-474b-8cce-b302099a8057 --addr localhost:7500`)
	run(0, `pannier ack $id --lease $lease --result '{"paid":true}' --addr localhost:7500`)
	if out := run(0, `pannier wait $id -o json | jq -c .details.result`); out != `{"paid":true}` {
		t.Errorf("wait prints the result %s", out)
	}
	if out := run(0, `pannier get $id -o json | jq -r .intent.status`); out != "COMPLETED" {
		t.Errorf("get says %s", out)
	}
	if out := run(0, `pannier watch $id 2>/dev/null`); !strings.Contains(out, "intent.created") || !strings.Contains(out, "intent.completed") {
		t.Errorf("watch prints %s", out)
	}
	if out := run(0, `pannier list 2>/dev/null`); !strings.Contains(out, "COMPLETED") {
		t.Errorf("list prints %s", out)
	}
	run(0, `rejected=$(pannier send --to dev/local/billing '{}' 2>/dev/null)`)
	run(0, `lease=$(pannier poll dev/local/billing --addr localhost:7500 -o json | jq -r '.intents[0].lease_id')`)
	run(0, `pannier nack $rejected --reject --reason "no such order" --lease $lease --addr localhost:7500`)
	run(9, `pannier wait $rejected`)
	if out := run(0, `pannier why $rejected`); out == "" {
		t.Error("why prints nothing")
	}
	run(0, `pannier peers`)
	run(0, `pannier version`)
	if out := run(0, `pannier explain $(pannier get 01890a5d-ac96-774b-bcce-b302099a8057 -o json 2>&1 >/dev/null | jq -r .error.code)`); !strings.Contains(out, "status 404") {
		t.Errorf("explain prints %s", out)
	}
	run(3, `pannier explain no-such-code`)
	run(3, `pannier get 01890a5d-ac96-774b-bcce-b302099a8057`)
	run(6, `pannier get $id --addr localhost:1`)
	run(2, `pannier send '{}'`)
	run(2, `pannier no-such-verb`)
	run(2, `pannier poll`)
}

// verify runs `pannier verify` over the journal of a sidecar that is down.
func (s *sidecar) verify() {
	s.t.Helper()
	out, err := exec.Command(s.bin, "verify", "--journal", s.dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), ", no damage") {
		s.t.Errorf("verify of the journal of %s: %v\n%s", s.set.name, err, tail(string(out), 2000))
	}
}

// TestVerifyRefusesALiveJournal: it reads only what nobody writes.
func TestVerifyRefusesALiveJournal(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	carry(t, s, s)
	out, err := exec.Command(s.bin, "verify", "--journal", s.dir).CombinedOutput()
	if err == nil {
		t.Errorf("verify of a journal in use: %s", out)
	}
	s.kill()
	s.verify()
	s.start()
	carry(t, s, s)
	if code, _ := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.verify()
	if out, err := exec.Command(s.bin, "verify", "--journal", fmt.Sprint(s.dir, ".missing")).CombinedOutput(); err == nil {
		t.Errorf("verify of no journal: %s", out)
	}
}
