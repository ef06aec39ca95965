package e2e_test

import (
	"bytes"
	encoding "encoding/binary"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDamagedRecordCostsItsIntent: a value is wrong on the disk, in a way that the store does
// not notice. The scrub of the running sidecar does: the intent ends as a dead letter that
// says why, it is said wherever somebody looks, and everything else goes on.
func TestDamagedRecordCostsItsIntent(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}, config: map[string]string{"scrub_interval": "1s"}})
	var ids []string
	for n := range 3 {
		ids = append(ids, s.post(billing, map[string]any{"mark": fmt.Sprintf("canary-%d", n)}))
	}
	if code, _ := s.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	spoilValue(t, s.dir, "canary-1")
	if out := s.verifyFails(); !strings.Contains(out, "envelope of "+ids[1]) || strings.Contains(out, ids[0]) || strings.Contains(out, ids[2]) {
		t.Errorf("verify says:\n%s", out)
	}
	s.start()
	if d := s.awaitDead(ids[1]); d.Reason != "sidecar_fault" {
		t.Errorf("the dead letter is one for %q", d.Reason)
	}
	if a := s.operate("GET", "/metrics", nil); !bytes.Contains(a.body, []byte("\npannier_intent_journal_corrupt_records_total 1\n")) {
		t.Errorf("metrics do not say that one record was set aside")
	}
	if !strings.Contains(s.stderr(), "journal.corrupt_record") || !strings.Contains(s.stderr(), ids[1]) {
		t.Error("the log does not say which record it is")
	}
	s.checkSays("has all its records", "1 records could not be read")
	if a := s.operate("POST", "/v1/admin/dead-letters/"+ids[1]+"/redrive", nil); a.code != http.StatusConflict || !bytes.Contains(a.body, []byte(`"content_lost"`)) {
		t.Errorf("a redrive of what nobody can read: %v", a)
	}
	out, err := exec.Command(s.bin, "dlq", "show", ids[1], "--admin", s.admin).CombinedOutput()
	if err != nil {
		t.Errorf("dlq show: %v", err)
	}
	s.says("dlq show", string(out), []string{"error journal.corrupt_record", "payload lost: it cannot be read"})
	if a := s.operate("POST", "/v1/admin/dead-letters/redrive", map[string]any{"filter": map[string]any{}, "dry_run": true}); !bytes.Contains(a.body, []byte(`"matched":0`)) {
		t.Errorf("it would be redriven with all others: %v", a)
	}
	if why := s.why(ids[1]); !strings.Contains(why.Text, "Reason sidecar_fault: ") || !strings.Contains(why.Text, "Last error: journal.corrupt_record") {
		t.Errorf("why says %q", why.Text)
	}
	if a := s.operate("GET", "/readyz", nil); a.code != http.StatusOK {
		t.Errorf("not ready over one record: %v", a)
	}
	for range 2 {
		it := s.take1(billing, take{})
		if it.ID == ids[1] {
			t.Error("what nobody can read was handed over")
		}
		s.ack(it, nil)
		s.status(it.ID, "COMPLETED")
	}
	s.stop()
	s.verify()
}

// TestBadBitUnderARunningSidecar: values go wrong in a table that is in use. An intent that was open is
// a dead letter, one that has ended stays without what was sent, and no later start is refused for
// them: the table is made anew.
func TestBadBitUnderARunningSidecar(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}, config: map[string]string{"scrub_interval": "1s"}})
	done := s.post(billing, map[string]any{"mark": "canary-done"})
	s.ack(s.take1(billing, take{}), nil)
	bad, good := s.post(billing, map[string]any{"mark": "canary-bad"}), s.post(billing, map[string]any{"mark": "canary-good"})
	s.stop()
	s.start()
	flipInUse(t, s.tables()[0], "canary-bad")
	flipInUse(t, s.tables()[0], "canary-done")
	s.awaitDead(bad)
	if a := s.call("GET", "/v1/intents/"+done, nil); a.code != http.StatusInternalServerError {
		t.Errorf("what cannot be read: %v", a)
	}
	s.status(done, "COMPLETED")
	for _, lost := range []string{done, bad} {
		if a := s.call("GET", "/v1/intents/"+lost, nil); !bytes.Contains(a.body, []byte(`"content_lost":true`)) || !bytes.Contains(a.body, []byte(`"payload":{}`)) {
			t.Errorf("what was sent is lost, and that is not said: %v", a)
		}
	}
	s.kill()
	if out := s.verifyFails(); !strings.Contains(out, "spent_records: table ") || strings.Contains(out, "--accept-loss") {
		t.Errorf("verify says:\n%s", out)
	}
	s.start()
	if log := s.stderr(); !strings.Contains(log, "made anew, and nothing is lost") {
		t.Errorf("the start does not say that a table was made anew:\n%s", tail(log, 2000))
	}
	s.awaitDead(bad)
	s.status(done, "COMPLETED")
	it := s.take1(billing, take{})
	if it.ID != good {
		t.Errorf("handed over %s, want %s", it.ID, good)
	}
	s.ack(it, nil)
	s.status(good, "COMPLETED")
	s.stop()
	s.verify()
}

// flipInUse makes a bit of a text wrong in a file that a process may have open.
func flipInUse(t *testing.T, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(text))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil || at < 0 {
		t.Fatal(at, err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{b[at] ^ 1}, int64(at)); err != nil {
		t.Fatal(err)
	}
}

// TestLostTable: a file of the store is gone. The start is refused and says what can be done;
// with --accept-loss the rest lives on, and what is lost is said.
func TestLostTable(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)
	lost := s.post(billing, map[string]any{"n": 1}, delivery("deliver_at", later)) // nothing of it is written later
	s.stop()                                                                       // each stop makes a table
	s.start()
	kept := s.post(billing, map[string]any{"n": 2})
	s.stop()
	tables := s.tables()
	if err := os.Remove(tables[0]); err != nil {
		t.Fatal(err)
	}
	s.launch()
	s.awaitExit()
	if code := s.proc.cmd.ProcessState.ExitCode(); code == 0 || !strings.Contains(s.stderr(), "--accept-loss") {
		t.Errorf("exit code %d, want a refusal that names --accept-loss:\n%s", code, tail(s.stderr(), 1000))
	}
	if out := s.verifyFails(); !strings.Contains(out, "file: table "+filepath.Base(tables[0])) {
		t.Errorf("verify says:\n%s", out)
	}
	s.set.args = append(s.set.args, "--accept-loss")
	s.start()
	s.checkSays("has all its records", "started with --accept-loss")
	if a := s.call("GET", "/v1/intents/"+lost, nil); a.code != http.StatusNotFound {
		t.Errorf("what was lost: %v", a)
	}
	it := s.take1(billing, take{})
	if it.ID != kept {
		t.Errorf("handed over %s, want %s", it.ID, kept)
	}
	s.ack(it, nil)
	s.status(kept, "COMPLETED")
	carry(t, s, s)
	s.kill()
	s.set.args = s.set.args[:len(s.set.args)-1]
	s.start()
	carry(t, s, s)
	s.stop()
	s.verify()
}

// TestLostTableOfWhatWasTaken: of what an app has taken since the table was written its head and
// hand-over are in a later one. It ends, and what is said of it is empty where it is lost.
func TestLostTableOfWhatWasTaken(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	lost := s.post(billing, map[string]any{"n": 1})
	s.stop()
	s.start()
	s.take1(billing, take{lease: 600})
	s.kill()
	s.start()
	if err := os.Remove(s.tables()[0]); err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.set.args = append(s.set.args, "--accept-loss")
	s.start()
	a := s.call("GET", "/v1/intents/"+lost, nil)
	if got := s.get(lost); got.Status != "FAILED" || !bytes.Contains(a.body, []byte(`"from_agent":"","to_agent":"`+billing)) {
		t.Errorf("it is %v", a)
	}
	carry(t, s, s)
	s.stop()
	s.verify()
}

// putBack lets a sidecar go on, and puts its whole directory back to what it was before.
func putBack(t *testing.T, s *sidecar, goOn func()) {
	t.Helper()
	goOn()
	s.stop()
	snapshot := t.TempDir()
	if err := os.CopyFS(snapshot, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	s.start()
	goOn()
	s.stop()
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(s.dir, os.DirFS(snapshot)); err != nil {
		t.Fatal(err)
	}
	s.start()
}

// checkFinds wants "pannier check" to fail with these words.
func (s *sidecar) checkFinds(words ...string) {
	s.t.Helper()
	out, err := exec.Command(s.bin, "check", "--admin", s.admin).CombinedOutput()
	if err == nil {
		s.t.Errorf("check finds nothing:\n%s", out)
	}
	s.says("check", string(out), words)
}

// checkSays wants a warning of "pannier check", which is no reason for it to fail.
func (s *sidecar) checkSays(words ...string) {
	s.t.Helper()
	out, err := exec.Command(s.bin, "check", "--admin", s.admin).CombinedOutput()
	if err != nil {
		s.t.Errorf("check: %v\n%s", err, out)
	}
	s.says("check", string(out), words)
}

func (s *sidecar) says(who, text string, words []string) {
	s.t.Helper()
	for _, w := range words {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), w) {
			s.t.Errorf("%s does not say %q:\n%s", who, w, text)
		}
	}
}

// verifyFails runs `pannier verify` over a journal that is damaged.
func (s *sidecar) verifyFails() string {
	s.t.Helper()
	out, err := exec.Command(s.bin, "verify", "--journal", s.dir).CombinedOutput()
	if err == nil {
		s.t.Errorf("verify finds nothing:\n%s", out)
	}
	return string(out)
}

// tables are those of the store, the oldest first.
func (s *sidecar) tables() []string {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, "store", "*.sst"))
	if err != nil || len(found) == 0 {
		s.t.Fatalf("no tables: %v", err)
	}
	slices.Sort(found)
	return found
}

// spoilValue makes a byte of a value wrong in whatever table it is in, and the checksum of
// its block what that makes it: so is it where memory or a controller spoils what is written.
func spoilValue(t testing.TB, dir, text string) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "store", "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tables {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte(text))
		if at < 0 {
			continue
		}
		if err := os.WriteFile(path, spoilBlock(t, b, at), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%q is in no table", text)
}

// spoilBlock does so in the block that has a byte. A block ends with its checksum, which says
// of itself how long it is.
func spoilBlock(t testing.TB, b []byte, at int) []byte {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	end := func(of []byte) []byte { // field 2, a varint, and its length
		sum := encoding.AppendUvarint([]byte{2 << 3}, uint64(crc32.Checksum(of, castagnoli)))
		return encoding.BigEndian.AppendUint32(sum, uint32(len(sum)))
	}
	for from, to := 0, 1; to < len(b); to++ {
		was := end(b[from:to])
		if !bytes.HasPrefix(b[to:], was) {
			continue
		}
		if at < to {
			for bit := range 8 {
				b[at] ^= 1 << bit
				if is := end(b[from:to]); len(is) == len(was) {
					copy(b[to:], is)
					return b
				}
				b[at] ^= 1 << bit
			}
		}
		from = to + len(was)
		to = from
	}
	t.Fatalf("byte %d is in no block", at)
	return nil
}

// TestOlderCopyOfAReceiver: the whole directory of a sidecar is put back, as from a snapshot of
// its volume. When it meets its peer that is found out; started with --accept-loss it is
// another epoch of the same journal, and both go on.
func TestOlderCopyOfAReceiver(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	putBack(t, holder, func() { carry(t, home, holder) })
	id := home.post(billing, map[string]any{"order": "A-1"})
	eventually(t, "the older copy to be found out", func() error {
		if !strings.Contains(home.stderr(), "journal ends at") || !strings.Contains(home.stderr(), "--accept-loss") {
			return fmt.Errorf("nobody says so")
		}
		return nil
	})
	home.checkFinds("peer_put_back: The journal of the sidecar at the other end was put back", "Stop that sidecar, and not this one, and start it once with --accept-loss")
	eventually(t, "the older copy to be told what it is", func() error {
		if a := holder.operate("GET", "/readyz?verbose", nil); !bytes.Contains(a.body, []byte("put back")) {
			return fmt.Errorf("it says %v", a)
		}
		return nil
	})
	holder.checkSays("THIS sidecar's journal was put back", "nothing is exchanged with "+home.peer+": stop it and start it once with --accept-loss")
	holder.stop()
	holder.set.args = append(holder.set.args, "--accept-loss")
	holder.start()
	finish(t, home, holder, id)
	carry(t, home, holder)
	if code, _ := holder.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	home.stop()
	holder.verify()
	home.verify()
}

// TestOlderCopyOfAHome: the same of the sidecar that sends. It is this one that has to be started
// with --accept-loss, and both say so: its own check and why, and the check of the other.
func TestOlderCopyOfAHome(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	putBack(t, home, func() { carry(t, home, holder) })
	id := home.post(billing, map[string]any{"order": "A-1"})
	eventually(t, "why to name the older copy", func() error {
		if why := home.why(id); why.Causes[0].Code != "journal_put_back" {
			return fmt.Errorf("it says %+v", why)
		}
		return nil
	})
	home.checkFinds("THIS sidecar's journal was put back", "nothing is exchanged with "+holder.peer+": stop it and start it once with --accept-loss",
		"× "+holder.peer+": journal_put_back: THIS sidecar's journal", "Stop THIS sidecar, and not the other")
	holder.checkSays("nothing is exchanged with "+home.peer, "stop that sidecar, and not this one, and start it once with --accept-loss")
	home.stop()
	home.set.args = append(home.set.args, "--accept-loss")
	home.start()
	finishAs(t, home, holder, id, true) // the copy may be of before it was handed over
	for _, s := range []*sidecar{home, holder} {
		if a := s.operate("GET", "/readyz?verbose", nil); bytes.Contains(a.body, []byte("put back")) {
			t.Errorf("mended, %s still says it: %v", s.set.name, a)
		}
	}
	home.stop()
	holder.stop()
}
