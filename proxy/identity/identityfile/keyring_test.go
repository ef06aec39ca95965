package identityfile_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pannier/proxy/identity"
	"pannier/proxy/identity/identityfile"
)

func secret(c string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(c, identity.MinSecret)))
}

func writeKeyring(t *testing.T, mode os.FileMode, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// openKeyring returns what the file sets.
func openKeyring(path string) (got []identity.Key, err error) {
	_, err = identityfile.OpenKeyring(path, func(keys []identity.Key) error {
		got = keys
		return identity.CheckKeys(keys)
	}, slog.New(slog.DiscardHandler))
	return got, err
}

func TestKeyringIsRead(t *testing.T) {
	t.Parallel()
	got, err := openKeyring(writeKeyring(t, 0o600, fmt.Sprintf("keys:\n  - {id: a, secret: %q, use: current, agents: [acme/*, orders]}\n  - {id: b, secret: %q, use: next}\n", secret("a"), secret("b"))))
	if err != nil {
		t.Fatal(err)
	}
	want := []identity.Key{
		{ID: "a", Secret: []byte(strings.Repeat("a", identity.MinSecret)), Use: identity.Current, Agents: []string{"agent://acme/*", "orders"}},
		{ID: "b", Secret: []byte(strings.Repeat("b", identity.MinSecret)), Use: identity.Next},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestKeyringIsPrivate(t *testing.T) {
	t.Parallel()
	text := fmt.Sprintf("keys: [{id: a, secret: %q, use: current}]\n", secret("a"))
	for _, mode := range []os.FileMode{0o644, 0o640, 0o620, 0o604, 0o602, 0o660} {
		if _, err := openKeyring(writeKeyring(t, mode, text)); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if _, err := openKeyring(writeKeyring(t, mode, text)); err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

// Who has left a keyring open to others, is told so and closes it, need not write it
// again.
func TestKeyringIsTakenOnceItIsPrivate(t *testing.T) {
	t.Parallel()
	text := func(id string) []byte {
		return fmt.Appendf(nil, "keys: [{id: %s, secret: %q, use: current}]\n", id, secret(id))
	}
	path := writeKeyring(t, 0o600, string(text("a")))
	taken, said := make(chan string, 4), make(told, 16)
	f, err := identityfile.OpenKeyring(path, func(keys []identity.Key) error {
		taken <- keys[0].ID
		return nil
	}, slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() { cancel(); <-done }()
	next(t, taken)
	other := writeKeyring(t, 0o644, string(text("b")))
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if got := next(t, said); !strings.Contains(got, "chmod 600") {
		t.Fatalf("it says %s", got)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if id := next(t, taken); id != "b" {
		t.Errorf("it has taken %s", id)
	}
}

func next[C ~chan string](t *testing.T, from C) string {
	t.Helper()
	select {
	case s := <-from:
		return s
	case <-time.After(time.Minute):
		t.Fatal("nothing came for a minute")
		return ""
	}
}

// told is a log, line by line.
type told chan string

func (c told) Write(line []byte) (int, error) {
	c <- string(line)
	return len(line), nil
}

// A secret that is mounted for a group belongs to another user.
func TestKeyringOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("only root can give a file away")
		}
		t.Skip("only root can give a file away")
	}
	path := writeKeyring(t, 0o640, fmt.Sprintf("keys: [{id: a, secret: %q, use: current}]\n", secret("a")))
	if err := os.Chown(path, 65532, 0); err != nil {
		t.Fatal(err)
	}
	// A volume of a pod has its files behind two links, and the group is the volume's.
	dir := t.TempDir()
	linked := filepath.Join(dir, "keyring.yaml")
	for from, to := range map[string]string{linked: "..data/keyring.yaml", filepath.Join(dir, "..data"): filepath.Dir(path)} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	for mode, passes := range map[os.FileMode]bool{0o640: true, 0o440: true, 0o444: false, 0o460: false, 0o441: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{path, linked} {
			if _, err := openKeyring(p); (err == nil) != passes {
				t.Errorf("%s of another user with mode %04o: %v, want passed %v", p, mode, err, passes)
			}
		}
	}
}

// What is wrong is told with its place, and without the text there.
func TestKeyringComplaints(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text, want string }{
		{"empty", "", "the file is empty"},
		{"another key", "key: []\n", `not a setting of a keyring, want "keys"`},
		{"no list", "keys: {}\n", "want a list of {id, secret, use, agents}"},
		{"not YAML", "keys: [\nSECRET", "not YAML"},
		{"a short secret", "keys: [{id: a, secret: SECRET, use: current}]\n", ":1:24: secret: want 32 bytes or more in base64"},
		{"no use", fmt.Sprintf("keys: [{id: a, secret: %q}]\n", secret("a")), "use: missing"},
		{"another use", fmt.Sprintf("keys: [{id: a, secret: %q, use: SECRET}]\n", secret("a")), "use: want next, current or retiring"},
		{"a number", fmt.Sprintf("keys: [{id: 7, secret: %q, use: current}]\n", secret("a")), "write it in quotes"},
		{"another field", fmt.Sprintf("keys: [{id: a, SECRET: x, secret: %q, use: current}]\n", secret("a")), "not a setting of a key"},
		{"no current one", fmt.Sprintf("keys: [{id: a, secret: %q, use: next}]\n", secret("a")), "0 keys are current, want one"},
		{"no agents", fmt.Sprintf("keys: [{id: a, secret: %q, use: current, agents: []}]\n", secret("a")), "the list is empty"},
		{"too many", "keys: [" + strings.Repeat("{}, ", identity.KeysMost+1) + "]\n", "at most 16 are read"},
	} {
		_, err := openKeyring(writeKeyring(t, 0o600, row.text))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		} else if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), secret("a")) {
			t.Errorf("%s: the text is told: %v", row.name, err)
		}
	}
}
