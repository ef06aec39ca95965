package webhook_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pannier/proxy/webhook"
)

const billing = "agent://acme/prod/billing"

func signing(t *testing.T, k *webhook.Keyring) (fingerprints []string) {
	t.Helper()
	list, err := k.Signing(billing)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		fingerprints = append(fingerprints, s.Fingerprint())
	}
	return fingerprints
}

// TestRotation walks one secret through its states: next, current, retiring.
func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "secrets")
		k := webhook.NewKeyring(dir)
		first := signing(t, k)
		if len(first) != 1 {
			t.Fatalf("at first %v sign, want one", first)
		}
		prepared, err := k.Prepare(billing)
		if err != nil || len(prepared) != 2 || prepared[1].State != webhook.Next {
			t.Fatalf("prepared: %+v, %v", prepared, err)
		}
		if again, err := k.Prepare(billing); err != nil || len(again) != 2 {
			t.Errorf("prepared twice: %+v, %v", again, err)
		}
		if now := signing(t, k); len(now) != 1 || now[0] != first[0] {
			t.Errorf("what is only prepared signs: %v", now)
		}
		if _, err := k.Rotate(billing, time.Hour); err != nil {
			t.Fatal(err)
		}
		both := signing(t, k)
		if len(both) != 2 || both[0] != prepared[1].Fingerprint || both[1] != first[0] {
			t.Errorf("in the overlap %v sign, want the prepared one and then the first", both)
		}
		if again := signing(t, webhook.NewKeyring(dir)); len(again) != 2 || again[0] != both[0] {
			t.Errorf("after a restart %v sign, want %v", again, both)
		}
		time.Sleep(time.Hour)
		if now := signing(t, k); len(now) != 1 || now[0] != both[0] {
			t.Errorf("after the overlap %v sign, want one", now)
		}
		if _, err := k.Rotate(billing, 0); err != nil {
			t.Fatal(err)
		}
		if now := signing(t, k); len(now) != 1 || now[0] == both[0] {
			t.Errorf("without an overlap %v sign, want a new one alone", now)
		}
		list, err := k.List([]string{billing})
		if err != nil || len(list) != 1 || list[0].LastUsed.IsZero() || list[0].Path == "" {
			t.Errorf("listed: %+v, %v", list, err)
		}
	})
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "secrets")
	signing(t, webhook.NewKeyring(dir))
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 || !strings.Contains(files[0], "acme-prod-billing") {
		t.Fatalf("files %v, %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, want 0600 (%v)", info.Mode().Perm(), err)
	}
	for name, broken := range map[string]string{
		"cut":         `{"agent":"agent://acme/p`,
		"of another":  `{"agent":"agent://acme/prod/shop","secrets":[{"secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","state":"current"}]}`,
		"none":        `{"agent":"agent://acme/prod/billing","secrets":[]}`,
		"a cut key":   `{"agent":"agent://acme/prod/billing","secrets":[{"secret":"whsec_MfKQ","state":"current"}]}`,
		"two current": `{"agent":"agent://acme/prod/billing","secrets":[{"secret":"sixteen characters","state":"current"},{"secret":"sixteen characters","state":"current"}]}`,
	} {
		if err := os.WriteFile(files[0], []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := webhook.NewKeyring(dir).Signing(billing); err == nil || !strings.Contains(err.Error(), "secrets of "+billing) {
			t.Errorf("%s: %v, want a refusal that names the agent", name, err)
		}
		if now, err := os.ReadFile(files[0]); err != nil || string(now) != broken {
			t.Errorf("%s: the file was replaced", name)
		}
	}
}
