package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pannier/journal"
	"pannier/proxy/api"
)

func decode(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("not a JSON object: %v: %s", err, raw)
	}
	return m
}

// FuzzCloudEvent: what is accepted is an intent like any other, with a key that is
// the same when the event comes again; a refusal is a 4xx of ours.
func FuzzCloudEvent(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"s","type":"a.v1","subject":"b","data":{"n":1}}`), "1", "b", false)
	f.Add([]byte(`{"n":1}`), "%41", "agent://acme/prod/b", true)
	f.Add([]byte(`{"specversion":"1.0","expirytime":"2030-01-01T00:00:00Z","data_base64":""}`), "%", "\xff", true)
	f.Fuzz(func(t *testing.T, raw []byte, id, subject string, binary bool) {
		h := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Source": {"s"}, "Ce-Type": {"a.v1"}, "Ce-Subject": {subject}}
		got, err := api.ReadEvent(bytes.Clone(raw), h, binary)
		if err != nil {
			if status, code := api.ProblemOf(err); status < 400 || status > 499 || code == "" {
				t.Fatalf("refused with %d %s: %v", status, code, err)
			}
			return
		}
		if to, err := api.Address(got.To); err != nil || to != got.To || got.Type == "" || got.Correlation == "" {
			t.Fatalf("accepted as %+v (%v)", got, err)
		}
		decode(t, got.Payload)
		if _, why := api.ParseKey(got.Key); why != "" {
			t.Fatalf("its key %q %s", got.Key, why)
		}
		if again, err := api.ReadEvent(bytes.Clone(raw), h, binary); err != nil || again.Key != got.Key {
			t.Fatalf("again it has the key %q, not %q (%v)", again.Key, got.Key, err)
		}
	})
}

// FuzzCreateBody: what is accepted has a canonical receiver, a type, a
// correlation id and a payload that is an object made of the body's bytes; a
// body read again is the same request to the idempotency check; a refusal is a
// 4xx of ours.
func FuzzCreateBody(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"intentType":"a","toAgent":"x/b","x": [1, 2]}`))
	f.Add([]byte(`{"intent_type":"a","to_agent":"b","payload":{},"delivery":{"delay_seconds":5,"durability":"receiver"}}`))
	f.Add([]byte(`{"intent_type":"a","to_agent":"b","payload":{"a":1e400,"b":"\ud800"},"idempotency_key":"\"k\""}`))
	f.Add([]byte(`{"intent_type":"a","to_agent":"b","` + "\x00" + `":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := bytes.Clone(raw)
		got, err := api.ReadCreate(raw, nil)
		if !bytes.Equal(in, raw) {
			t.Fatal("reading changed the body")
		}
		if err != nil {
			if status, code := api.ProblemOf(err); status < 400 || status > 499 || code == "" {
				t.Fatalf("refused with %d %s: %v", status, code, err)
			}
			return
		}
		if again, err := api.Address(got.To); err != nil || again != got.To {
			t.Fatalf("receiver %q is not canonical: %q, %v", got.To, again, err)
		}
		if got.Type == "" || got.From == "" || got.Correlation == "" {
			t.Fatalf("accepted without a type, sender or correlation id: %+v", got)
		}
		members := decode(t, raw)
		payload := decode(t, got.Payload)
		if given, ok := members["payload"]; ok {
			if !bytes.Contains(raw, got.Payload) {
				t.Fatalf("the payload's bytes are not the body's: %q", got.Payload)
			}
			if len(given.(map[string]any)) != len(payload) {
				t.Fatalf("the payload is another value: %q", got.Payload)
			}
		}
		a, errA := api.ScopedKey("", "POST /v1/intents", "k", got.Fingerprinted)
		second, err := api.ReadCreate(raw, nil)
		if err != nil {
			t.Fatalf("read once, refused once: %v", err)
		}
		b, errB := api.ScopedKey("", "POST /v1/intents", "k", second.Fingerprinted)
		if errA != nil || errB != nil || *a != *b {
			t.Fatalf("the same body has two fingerprints: %v %v", errA, errB)
		}
	})
}

// FuzzAddress: the canonical form is idempotent, survives a URL path, and is
// the same with and without agent://.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"agent://a/b/c", "a/b", "name", "agent://name", "initiator://x", "a//b", "../x", "agent://agent://x", "A.b_c~d@e+f-g", "%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := api.Address(s)
		if err != nil {
			if status, _ := api.ProblemOf(err); status != 422 {
				t.Fatalf("%q: refused with %d, want 422", s, status)
			}
			return
		}
		if again, err := api.Address(c); err != nil || again != c {
			t.Fatalf("%q: canonical %q is not canonical: %q, %v", s, c, again, err)
		}
		if len(c) > 383 {
			t.Fatalf("%q: canonical form has %d bytes", s, len(c))
		}
		if back, err := url.PathUnescape(url.PathEscape(c)); err != nil || back != c {
			t.Fatalf("%q: does not survive a path: %q", c, back)
		}
		if bare, ok := strings.CutPrefix(c, "agent://"); ok {
			if again, err := api.Address(bare); err != nil || again != c {
				t.Fatalf("%q without its scheme is another agent: %q", c, again)
			}
		}
	})
}

// FuzzIdempotencyKey: an accepted key is 1–255 visible ASCII characters, and
// its quoted spelling is the same key.
func FuzzIdempotencyKey(f *testing.F) {
	for _, s := range []string{"k", `"k"`, `"a\"b\\c"`, `"`, `""`, `a"b`, " k", "é", strings.Repeat("k", 255), strings.Repeat("k", 256), `"k";p=1`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, why := api.ParseKey(s)
		if why != "" {
			return
		}
		if len(key) < 1 || len(key) > 255 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("%q was taken as the key %q", s, key)
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, why := api.ParseKey(quoted); why != "" || again != key {
			t.Fatalf("%q and its quoted spelling %q are two keys: %q %s", key, quoted, again, why)
		}
	})
}

// FuzzSettleBody: what is accepted names an intent, a lease and an action, and
// carries only what the action has; a result is the body's own bytes.
func FuzzSettleBody(f *testing.F) {
	ids := `"intent_id":"019a0000-0000-7000-8000-000000000001","lease_id":"019a0000-0000-7000-8000-000000000002"`
	f.Add([]byte(`{` + ids + `,"action":"ack","result":{"a": 1}}`))
	f.Add([]byte(`{` + ids + `,"action":"nack","reason":"no","delay_seconds":3}`))
	f.Add([]byte(`{` + ids + `,"action":"nack","reject":true}`))
	f.Add([]byte(`{` + ids + `,"action":"extend","lease_seconds":60}`))
	f.Add([]byte(`{` + ids + `,"action":"extend","lease_seconds":1e2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := api.ReadSettleItem(raw)
		if err != nil {
			if status, _ := api.ProblemOf(err); status < 400 || status > 499 {
				t.Fatalf("refused with %d: %v", status, err)
			}
			return
		}
		if s.ID.IsZero() && !bytes.Contains(raw, []byte("00000000-0000-0000-0000-000000000000")) {
			t.Fatal("accepted without an intent")
		}
		if len(s.Result) > 0 {
			decode(t, s.Result)
			if !bytes.Contains(raw, s.Result) {
				t.Fatalf("the result's bytes are not the body's: %q", s.Result)
			}
		}
		if s.Action != journal.Ack && s.Result != nil || s.Action != journal.Nack && (s.Reject || s.Reason != "") || s.Action != journal.Extend && s.For != 0 {
			t.Fatalf("fields of another action: %+v", s)
		}
		if s.For < 0 || s.For.Hours() > 1 || s.Delay.Hours() > 24 {
			t.Fatalf("out of bounds: %+v", s)
		}
	})
}

func TestProblemOfUnknownErrorKeepsItsText(t *testing.T) {
	t.Parallel()
	if status, code := api.ProblemOf(errors.New("secret")); status != 500 || code != "internal_error" {
		t.Errorf("got %d %s", status, code)
	}
}
