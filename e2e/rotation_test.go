package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	reference "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// TestRotationBeforeTheReferences: under load a secret is rotated again and
// again. Two receivers judge every request by the published libraries: one, in Go,
// has known but the first secret all the time; behind it one on npm's reads the
// file of the secrets as it is. Neither refuses any.
func TestRotationBeforeTheReferences(t *testing.T) {
	t.Parallel()
	typescript := languages[2]
	needModules(t, "examples/typescript")
	if err := typescript.ready(t); err != nil {
		t.Fatal(err)
	}
	var first atomic.Pointer[reference.Webhook]
	npm := freeAddr(t)
	var signatures atomic.Int64 // the most on one request
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && first.Load() != nil {
			err = first.Load().Verify(body, r.Header)
		}
		if err != nil {
			t.Errorf("%s: the Go library: %v", r.Header.Get("webhook-id"), err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		signatures.Store(max(signatures.Load(), int64(len(strings.Fields(r.Header.Get("webhook-signature"))))))
		forward, err := http.NewRequest("POST", "http://"+npm, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		forward.Header = r.Header.Clone()
		resp, err := http.DefaultClient.Do(forward)
		if err != nil { // it has not begun to listen
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		defer resp.Body.Close()
		answer, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: npm's library: %s %s", r.Header.Get("webhook-id"), resp.Status, answer)
		}
		w.WriteHeader(resp.StatusCode)
		w.Write(answer)
	}))
	t.Cleanup(app.Close)
	s := start(t, setup{name: "alone", agents: []string{billing + "=http:" + app.URL}})

	ids := []string{s.post(billing, map[string]any{"total": 1})} // makes the first secret
	eventually(t, "the first secret", func() error {
		files, err := filepath.Glob(filepath.Join(s.dir, "secrets", "*.json"))
		if err != nil || len(files) != 1 {
			return fmt.Errorf("%v, %v", files, err)
		}
		_, port, _ := strings.Cut(npm, ":")
		typescript.start(t, "webhook", s.api, port, files[0])
		return nil
	})
	oldest, err := reference.NewWebhook(secretsIn(t, s)[0].Reveal())
	if err != nil {
		t.Fatal(err)
	}
	first.Store(oldest)
	s.status(ids[0], "COMPLETED")

	var over atomic.Bool
	var posting sync.WaitGroup
	posting.Go(func() {
		for n := 1; !over.Load(); n++ {
			id, a := s.tryPost(message(billing, map[string]any{"total": n}), "")
			if id == "" {
				t.Errorf("post: %v", a)
				return
			}
			ids = append(ids, id)
			s.status(ids[max(0, n-20)], "COMPLETED") // at most twenty under way
		}
	})
	const rotations = 5
	for range rotations {
		out, err := exec.Command(s.bin, "secret", "rotate", billing, "--overlap", "1h", "--admin", s.admin).CombinedOutput()
		if err != nil {
			t.Errorf("rotate: %v: %s", err, out)
		}
		newest := s.post(billing, map[string]any{"total": 1}) // one at least goes between two rotations
		s.status(newest, "COMPLETED")
	}
	over.Store(true)
	posting.Wait()
	for _, id := range ids {
		s.status(id, "COMPLETED")
		attempts(t, s, id, 0)
	}
	if n := signatures.Load(); n != rotations+1 {
		t.Errorf("%d signatures at most on a request, want one of each of %d secrets", n, rotations+1)
	}
	t.Logf("figure: %d intents over %d rotations: none refused by the Go library with the first secret alone, nor by npm's", len(ids), rotations)
}
