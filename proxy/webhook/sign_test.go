package webhook_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	reference "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"pannier/proxy/webhook"
)

// The first vector is Standard Webhooks' own; the others were made with its
// reference library.
var vectors = []struct {
	secret, id string
	at         int64
	body, want string
}{
	{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
		`{"test": 2432232314}`, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	},
	{
		"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", 1674087231,
		`{"type":"contact.created","timestamp":"2022-11-03T20:26:10.344522Z","data":{"id":"1f81eb52-5198-4599-803e-771906343485"}}`,
		"v1,Inw/unYkpAh6Njpdz4O+hnN82xYMXQ6NjnZIQN/mzIQ=",
	},
	{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "0193a7f2-5b0e-7c3a-9d6e-0f1a2b3c4d5e", 1774785600,
		`{"intent_id":"0193a7f2-5b0e-7c3a-9d6e-0f1a2b3c4d5e","intent_type":"intent.order.process.v1","payload":{"order_id":"ORD-2026-00142","total":4999.50}}`,
		"v1,b1RX82tgDgyTEomyJ8ft+my1p+3mthgNN4Fz5nf4Pjg=",
	},
}

func secret(t *testing.T, text string) webhook.Secret {
	t.Helper()
	s, err := webhook.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for i, v := range vectors {
		s, h, at := secret(t, v.secret), http.Header{}, time.Unix(v.at, 0)
		webhook.Sign(h, v.id, at, []byte(v.body), s)
		if got := h.Get("webhook-signature"); got != v.want {
			t.Errorf("vector %d: %s, want %s", i+1, got, v.want)
		}
		if err := webhook.Verify(h, []byte(v.body), at, s); err != nil {
			t.Errorf("vector %d: %v", i+1, err)
		}
	}
}

func TestVerifyNamesTheCheckThatFails(t *testing.T) {
	t.Parallel()
	v := vectors[0]
	now := time.Unix(v.at, 0)
	right, other := secret(t, v.secret), webhook.NewSecret()
	wrong := "v1," + strings.Repeat("A", 43) + "="
	for rule, row := range map[string]struct {
		change func(h http.Header, body *string)
		keys   []webhook.Secret
		want   string // empty: it passes
	}{
		"as signed":               {func(http.Header, *string) {}, nil, ""},
		"one of two secrets":      {func(http.Header, *string) {}, []webhook.Secret{other, right}, ""},
		"another secret":          {func(http.Header, *string) {}, []webhook.Secret{other}, "the secret is another"},
		"one of several":          {func(h http.Header, _ *string) { h.Set("webhook-signature", wrong+" v2,xyz "+v.want+" "+wrong) }, nil, ""},
		"two wrong ones":          {func(h http.Header, _ *string) { h.Set("webhook-signature", wrong+" "+wrong) }, nil, "webhook-id or webhook-timestamp was changed"},
		"an empty one":            {func(h http.Header, _ *string) { h.Set("webhook-signature", "v1,") }, nil, "webhook-id or webhook-timestamp"},
		"only unknown versions":   {func(h http.Header, _ *string) { h.Set("webhook-signature", "v2,xyz") }, nil, "version v1"},
		"no signature":            {func(h http.Header, _ *string) { h.Del("webhook-signature") }, nil, "webhook-signature is missing"},
		"no id":                   {func(h http.Header, _ *string) { h.Del("webhook-id") }, nil, "webhook-id is missing"},
		"no timestamp":            {func(h http.Header, _ *string) { h.Del("webhook-timestamp") }, nil, "webhook-timestamp is missing"},
		"a timestamp in words":    {func(h http.Header, _ *string) { h.Set("webhook-timestamp", "today") }, nil, "not a number"},
		"five minutes and more":   {func(h http.Header, _ *string) { h.Set("webhook-timestamp", at(v.at-301)) }, nil, "5m1s from now"},
		"and as much too early":   {func(h http.Header, _ *string) { h.Set("webhook-timestamp", at(v.at+301)) }, nil, "-5m1s from now"},
		"another body":            {func(_ http.Header, b *string) { *b = `{"test":2432232314}` }, nil, "the body was changed"},
		"a line end at its end":   {func(_ http.Header, b *string) { *b += "\n" }, nil, "white space"},
		"an id that was replaced": {func(h http.Header, _ *string) { h.Set("webhook-id", "other") }, nil, "webhook-id or webhook-timestamp was changed"},
	} {
		h, body := http.Header{}, v.body
		webhook.Sign(h, v.id, now, []byte(body), right)
		row.change(h, &body)
		keys := row.keys
		if keys == nil {
			keys = []webhook.Secret{right}
		}
		err := webhook.Verify(h, []byte(body), now, keys...)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", rule, err, row.want)
		}
	}
}

func at(seconds int64) string { return strconv.FormatInt(seconds, 10) }

func TestSecrets(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": true,
		"any text of sixteen bytes":              true,
		"short":                                  false,
		"whsec_":                                 false,
		"whsec_MfKQ":                             false, // cut
		"whsec_not base64 at all, and so mistyped": false,
		strings.Repeat("x", 129):                   false,
		webhook.NewSecret().Reveal():               true,
	} {
		if _, err := webhook.ParseSecret(text); (err == nil) != ok {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	s := webhook.NewSecret()
	if printed := fmt.Sprintf("%v %s %+v", s, s, struct{ S webhook.Secret }{s}); strings.Contains(printed, s.Reveal()[6:]) {
		t.Errorf("a secret prints itself: %s", printed)
	}
}

func FuzzVerify(f *testing.F) {
	v := vectors[0]
	f.Add(v.id, at(v.at), v.want, v.body)
	f.Add("", "-1", "v1,= v1a,", "")
	s, err := webhook.ParseSecret(v.secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, timestamp, signature, body string) {
		h := http.Header{}
		h.Set("webhook-id", id)
		h.Set("webhook-timestamp", timestamp)
		h.Set("webhook-signature", signature)
		seconds, _ := strconv.ParseInt(timestamp, 10, 64)
		if webhook.Verify(h, []byte(body), time.Unix(seconds, 0), s) != nil {
			return
		}
		right := http.Header{}
		webhook.Sign(right, id, time.Unix(seconds, 0), []byte(body), s)
		if !strings.Contains(signature, strings.TrimPrefix(right.Get("webhook-signature"), "v1,")) {
			t.Fatalf("%q passes, and its signature is %q", signature, right.Get("webhook-signature"))
		}
	})
}

// The published library of Standard Webhooks takes what we sign, with a secret of
// either kind, and we take what it signs.
func TestReferenceLibraryAgrees(t *testing.T) {
	t.Parallel()
	body, id, at := []byte(`{"n": 1.50, "text": "é"}`), "0193a7f2-5b0e-7c3a-9d6e-0f1a2b3c4d5e", time.Now()
	standard, raw := webhook.NewSecret(), secret(t, "sixteen characters or more")
	ofStandard, err := reference.NewWebhook(standard.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	ofRaw, err := reference.NewWebhookRaw([]byte(raw.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	ours := http.Header{}
	webhook.Sign(ours, id, at, body, standard, raw)
	for name, lib := range map[string]*reference.Webhook{"whsec_": ofStandard, "raw": ofRaw} {
		if err := lib.Verify(body, ours); err != nil {
			t.Errorf("our signature with a %s secret: %v", name, err)
		}
		if err := lib.Verify(append(body, '\n'), ours); err == nil {
			t.Errorf("the library takes another body with a %s secret", name)
		}
		theirs, err := lib.Sign(id, at, body)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)}, "Webhook-Signature": {theirs}}
		if err := webhook.Verify(h, body, at, standard, raw); err != nil {
			t.Errorf("its signature with a %s secret: %v", name, err)
		}
	}
}
