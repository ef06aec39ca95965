package e2e_test

import (
	"fmt"
	"sync"
	"testing"
)

// TestOneKeyOneIntent: a hundred at once, over a crash, and with another body.
func TestOneKeyOneIntent(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	body := message(billing, map[string]any{"n": 1}, map[string]any{"correlation_id": "first"})
	ids := postTogether(t, s, body, 100)
	if len(ids) != 1 {
		t.Fatalf("one key made %d intents", len(ids))
	}
	s.kill()
	s.start()
	for id := range postTogether(t, s, body, 100) {
		ids[id] = true
	}
	// correlation_id is no part of what is compared: SDKs make a new one.
	again := message(billing, map[string]any{"n": 1}, map[string]any{"correlation_id": "second"})
	id, a := s.tryPost(again, "the-key")
	if ids[id] = true; a.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("not marked as replayed: %v", a)
	}
	if len(ids) != 1 {
		t.Errorf("over a crash, one key made %d intents", len(ids))
	}
	for name, other := range map[string]map[string]any{
		"another payload": message(billing, map[string]any{"n": 2}),
		"another agent":   message(shop, map[string]any{"n": 1}),
		"another option":  message(billing, map[string]any{"n": 1}, delivery("max_delivery_attempts", 2)),
	} {
		if _, a := s.tryPost(other, "the-key"); a.code != 409 || a.errorCode() != "idempotency_conflict" {
			t.Errorf("%s: %v, want 409 idempotency_conflict", name, a)
		}
	}
	if all := s.list("limit=10"); len(all) != 1 {
		t.Errorf("%d intents at the end", len(all))
	}
	if other, _ := s.tryPost(body, "another-key"); ids[other] || other == "" {
		t.Errorf("another key answered %q", other)
	}
}

func postTogether(t *testing.T, s *sidecar, body any, n int) map[string]bool {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	ids := map[string]bool{}
	for range n {
		wg.Go(func() {
			id, a := s.tryPost(body, "the-key")
			mu.Lock()
			defer mu.Unlock()
			if id == "" {
				t.Errorf("%v", a)
				return
			}
			ids[id] = true
		})
	}
	wg.Wait()
	return ids
}

// TestReplayAfterTheEnd: the first answer again, also when the intent is over.
func TestReplayAfterTheEnd(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	body := message(billing, map[string]any{"order": "A-1"})
	id, first := s.tryPost(body, "k")
	finish(t, s, s, id)
	again, second := s.tryPost(body, "k")
	if again != id || string(first.body) != string(second.body) {
		t.Errorf("first answer %s, after the end %s", first.body, second.body)
	}
	s.takeNothing(billing, 1)
}

// TestKeysAreCheckedForForm: 1–255 visible ASCII characters.
func TestKeysAreCheckedForForm(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	for _, key := range []string{"a b", fmt.Sprintf("%0256d", 0), "schlüssel"} {
		if _, a := s.tryPost(message(billing, map[string]any{}), key); a.code != 400 && a.code != 422 {
			t.Errorf("key %q: %v, want a refusal", key, a)
		}
	}
	if id, a := s.tryPost(message(billing, map[string]any{}), fmt.Sprintf("%0255d", 0)); id == "" {
		t.Errorf("255 characters: %v", a)
	}
}
