package admin_test

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"pannier/proxy/webhook"
)

const billing = "agent://acme/prod/billing"

func TestSecretsAreShownByFingerprint(t *testing.T) {
	t.Parallel()
	w := setup(t)
	keys := w.secrets
	list := w.ask("GET", "/v1/admin/secrets")
	now, err := keys.Signing(billing)
	if err != nil {
		t.Fatal(err)
	}
	if body := list.Body.String(); list.Code != 200 || !strings.Contains(body, now[0].Fingerprint()) || !strings.Contains(body, `"state":"current"`) {
		t.Errorf("%d %s", list.Code, body)
	}
	for _, row := range []struct {
		body string
		code int
		want string
	}{
		{`{"agent":"` + billing + `","prepare":true}`, 200, `"state":"next"`},
		{`{"agent":"` + billing + `","overlap_seconds":60}`, 200, `"state":"retiring"`},
		{`{"agent":"agent://acme/prod/shop"}`, 404, "agent_not_found"},
		{`{"agent":"` + billing + `","overlap_seconds":-1}`, 422, "overlap_seconds"},
		{`{"agent":"` + billing + `","overlap":60}`, 400, "invalid_json"},
	} {
		a := w.send("/v1/admin/secrets/rotate", row.body)
		if a.Code != row.code || !strings.Contains(a.Body.String(), row.want) {
			t.Errorf("%s: %d %s, want %d and %s", row.body, a.Code, a.Body, row.code, row.want)
		}
		for _, s := range now {
			if strings.Contains(a.Body.String(), s.Reveal()) {
				t.Errorf("%s: the secret is in the answer", row.body)
			}
		}
	}
	if after, err := keys.Signing(billing); err != nil || len(after) != 2 || after[1].Fingerprint() != now[0].Fingerprint() {
		t.Errorf("after it %v sign (%v)", after, err)
	}
}

func (w *world) send(path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Host = "127.0.0.1:7402"
	a := httptest.NewRecorder()
	w.handler.ServeHTTP(a, r)
	return a
}

func keyring(t *testing.T) *webhook.Keyring {
	return webhook.NewKeyring(filepath.Join(t.TempDir(), "secrets"))
}
