package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pannier/proxy"
)

func configFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pannier.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigPath(t *testing.T) {
	for _, row := range []struct{ rule, env, args, want string }{
		{"none", "", "run", ""},
		{"flag", "", "run --api h:1 --config f.yaml", "f.yaml"},
		{"glued flag", "", "run --config=f.yaml --api h:1", "f.yaml"},
		{"environment", "e.yaml", "run --api h:1", "e.yaml"},
		{"flag before environment", "e.yaml", "run -config f.yaml", "f.yaml"},
		{"not a flag any more", "", "run -- --config f.yaml", ""},
		{"another command", "e.yaml", "get --config f.yaml", ""},
	} {
		t.Setenv(configEnv, row.env)
		if got := newSettings(strings.Fields(row.args), "run").file; got != row.want {
			t.Errorf("%s: %q, want %q", row.rule, got, row.want)
		}
	}
}

// Where a value comes from is what beat the others.
func TestConfigPrecedence(t *testing.T) {
	path := configFile(t, "# a comment\nzone: file\n")
	for _, row := range []struct{ rule, env, args, value, origin string }{
		{"default", "", "", `""`, "default"},
		{"file", "", "--config " + path, `"file"`, path + ":2"},
		{"environment over file", "env", "--config " + path, `"env"`, "PANNIER_ZONE"},
		{"flag over both", "env", "--config=" + path + " --zone=flag", `"flag"`, "--zone"},
	} {
		t.Setenv("PANNIER_ZONE", row.env)
		if row.env == "" {
			os.Unsetenv("PANNIER_ZONE")
		}
		got := pannier(t, "", append([]string{"config", "print", "-o", "json"}, strings.Fields(row.args)...)...)
		var lines []struct {
			Key, Origin string
			Value       json.RawMessage
		}
		if err := json.Unmarshal([]byte(got.stdout), &lines); err != nil || got.exit != 0 {
			t.Fatalf("%s: exit %d, %v: %s", row.rule, got.exit, err, got.stderr)
		}
		for _, l := range lines {
			if l.Key == "zone" && (string(l.Value) != row.value || l.Origin != row.origin) {
				t.Errorf("%s: %s from %s, want %s from %s", row.rule, l.Value, l.Origin, row.value, row.origin)
			}
		}
	}
}

// What is printed is a config file that says the same.
func TestPrintedConfigIsAConfig(t *testing.T) {
	t.Parallel()
	first := configFile(t, `agents: [orders=poll, "billing=http:http://127.0.0.1:9/in"]
max_body: 77
retry_max: 90s
insecure_peer: true
policies:
  "*":
    backoff: {base: 10ms, max: 1s}   # all
    split: [{subset: a, weight: 1}, {subset: b, weight: 9}]
`)
	print := func(path string) string {
		got := pannier(t, "", "config", "print", "--config", path)
		if got.exit != 0 {
			t.Fatalf("exit %d: %s", got.exit, got.stderr)
		}
		return got.stdout
	}
	printed := print(first)
	if again := print(configFile(t, printed)); again != printed {
		t.Errorf("read and printed again, it is another:\n%s\n%s", printed, again)
	}
	for _, want := range []string{"max_body: 77\n", `retry_max: "1m30s"`, `agents: ["orders=poll", "billing=http:http://127.0.0.1:9/in"]`, `"weight":9`} {
		if !strings.Contains(printed, want) {
			t.Errorf("it has no %s:\n%s", want, printed)
		}
	}
}

// All that is wrong comes at once: what cannot be read, and what makes no sense.
func TestConfigValidate(t *testing.T) {
	t.Parallel()
	path := configFile(t, "zonne: a\nretry_min:  [1]\nlearn: perhaps\n")
	got := pannier(t, "", "config", "validate", "--config", path)
	want := path + `:1:1: zonne: not a setting (did you mean "zone"?)
    1 | zonne: a
      | ^
` + path + `:2:13: retry_min: got a list, want a duration such as "500ms", "30s" or "72h"
    2 | retry_min:  [1]
      |             ^
` + path + `:3:8: learn: "perhaps"; use off, local or advertise
    3 | learn: perhaps
      |        ^`
	if got.exit != exitUsage || got.stdout != "" || !strings.Contains(got.stderr, want) {
		t.Errorf("exit %d, printed %q and said\n%s\nwant\n%s", got.exit, got.stdout, got.stderr, want)
	}
	got = pannier(t, "", "config", "validate", "-o", "json", "--config", path)
	var report struct {
		Valid  bool
		Errors []complaint
	}
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.exit != exitUsage || report.Valid || len(report.Errors) != 3 || report.Errors[1].Column != 13 {
		t.Errorf("exit %d, %v: %s", got.exit, err, got.stdout)
	}
	if got := pannier(t, "", "config", "validate"); got.exit != 0 || got.stdout != "valid, without a config file: name one with --config / PANNIER_CONFIG\n" {
		t.Errorf("the defaults: exit %d, %s", got.exit, got.stdout)
	}
	if got := pannier(t, "", "run", "--config", path); got.exit != exitUsage || !strings.Contains(got.stderr, "learn:") || !strings.Contains(got.stderr, "zonne") {
		t.Errorf("run with it: exit %d: %s", got.exit, got.stderr)
	}
}

// A value that is hidden from `config print` would be hidden from support.
func TestEverySettingIsPrintedUnlessOnlyAFileHasIt(t *testing.T) {
	t.Parallel()
	out := pannier(t, "", "config", "print", "--origin").stdout
	onlyFile := map[string]bool{"identities": true, "allow": true, "policies": true, "notify": true}
	for _, s := range proxy.Settings() {
		if strings.Contains(out, "\n"+s.Key+":") == onlyFile[s.Key] && s.Key != "agents" {
			t.Errorf("%s: printed %v", s.Key, !onlyFile[s.Key])
		}
	}
}
