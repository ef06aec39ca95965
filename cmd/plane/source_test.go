package plane

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestOpenSources(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agents.yaml")
	if err := os.WriteFile(path, []byte("agents: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		words []string
		want  []string // names of sources, or
		wrong string
	}{
		{words: []string{"registration"}, want: []string{"registration"}},
		{words: []string{"dns=a=h:1", "registration", "file=" + path, "dns=b=h:2"}, want: []string{"file", "registration", "dns"}},
		{words: []string{"registration", "registration"}, wrong: "--source registration: registration is named twice"},
		{words: []string{"registration=x"}, wrong: "use file=PATH, registration or dns=AGENT=HOST:PORT"},
		{words: []string{"file="}, wrong: "use file=PATH"},
		{words: []string{"consul"}, wrong: "--source consul: use file=PATH"},
		{words: []string{"file=" + path + ".none"}, wrong: "--source file: "},
	} {
		sources, err := openSources([]Kind{File, Registration, DNS}, row.words, slog.New(slog.DiscardHandler))
		var got []string
		for _, s := range sources {
			got = append(got, s.Name())
		}
		if row.wrong == "" && (err != nil || !slices.Equal(got, row.want)) {
			t.Errorf("%v: %v (%v), want %v", row.words, got, err, row.want)
		}
		if row.wrong != "" && (err == nil || !strings.Contains(err.Error(), row.wrong)) {
			t.Errorf("%v: %v, want an error with %q", row.words, err, row.wrong)
		}
	}
}
