package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"pannier/proxy/yaml"
)

var update = flag.Bool("update", false, "write what is said into testdata/")

const brokenConfigs = "testdata/broken.txtar"

// TestBrokenConfigs: whatever is wrong with a configuration, its user is told where, what, and what to
// do. Each file NAME.says of the archive is what `pannier config validate` says of NAME.yaml, or with
// the words of NAME.args: variables first, as in a shell, and flags.
func TestBrokenConfigs(t *testing.T) {
	archive, err := txtar.ParseFile(brokenConfigs)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := map[string]string{
		"binary.yaml": "\x7fELF\x02\x01\x01\x00\x00\x00\xff\xfe\n",
		"huge.yaml":   "# " + strings.Repeat("x", yaml.MaxFile) + "\n",
		"long.yaml":   "agents: [" + strings.Repeat(`"acme/prod/a", `, 20) + "5]\n",
	}
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	told := map[string]bool{}
	for i, f := range archive.Files {
		name, ok := strings.CutSuffix(f.Name, ".says")
		if !ok {
			continue
		}
		args := []string{"--config", filepath.Join(dir, name+".yaml")}
		if words := files[name+".args"]; words != "" {
			args = strings.Fields(strings.ReplaceAll(words, "DIR", dir))
		}
		t.Run(name, func(t *testing.T) {
			for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
				variable, value, _ := strings.Cut(args[0], "=")
				t.Setenv(variable, value)
				args = args[1:]
			}
			got := pannier(t, "", append([]string{"config", "validate"}, args...)...)
			says := strings.NewReplacer(dir+string(filepath.Separator), "", dir, ".").Replace(got.stderr)
			if got.exit != exitUsage || got.stdout != "" {
				t.Errorf("exit %d, stdout %q, want %d and nothing", got.exit, got.stdout, exitUsage)
			}
			if told[says] {
				t.Errorf("another configuration is told the same:\n%s", says)
			}
			told[says] = true
			if archive.Files[i].Data = []byte(says); !*update && says != string(f.Data) {
				t.Errorf("it says\n%s\nwant\n%s", says, f.Data)
			}
		})
	}
	if len(told) < 40 {
		t.Errorf("only %d broken configurations", len(told))
	}
	if *update {
		if err := os.WriteFile(brokenConfigs, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if bytes.Contains(txtar.Format(archive), []byte("%!")) {
		t.Error("a complaint is badly formatted")
	}
}
