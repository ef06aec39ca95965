package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"pannier/cmd/cmdline"
)

// transcripts are what verbs print, as e2e shows it with the real binary.
const transcripts = "../../e2e/transcripts/*.txtar"

// TestEveryVerbHasATranscript: a right use and a wrong one, which is told what to do.
func TestEveryVerbHasATranscript(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(transcripts)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	right, wrong := map[string]bool{}, map[string]bool{}
	app := newApp(context.Background(), nil)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, shown, _ := strings.Cut(string(text), "\n-- want --\n")
		for _, entry := range strings.Split(shown, "\n\n") {
			typed, ok := strings.CutPrefix(entry, "$ pannier ")
			if !ok {
				continue
			}
			verb := verbOfLine(app.Commands, typed)
			if strings.Contains(entry, "\n[exit code ") {
				wrong[verb] = true
			} else {
				right[verb] = true
			}
		}
	}
	for _, verb := range verbsBelow(app.Commands, "") {
		if !right[verb] && verb != "bench" { // which takes seconds of all cores: bench_test.go in e2e runs it
			t.Errorf("no transcript shows pannier %s", verb)
		}
		if !wrong[verb] && !neverWrong[verb] {
			t.Errorf("no transcript shows pannier %s told off", verb)
		}
	}
}

// neverWrong have nothing that is often got wrong: neither arguments nor a sidecar to miss, or those
// that another verb of their family shows.
var neverWrong = map[string]bool{
	"breaker": true, "breaker close": true, "secret list": true, "xds dump": true,
	"completion bash": true, "completion zsh": true, "completion fish": true, "config schema": true,
}

// TestReadmeCommandsAreCommands: its console blocks are run in e2e; of the other lines, each verb and
// each flag exists.
func TestReadmeCommandsAreCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(text)) {
		typed, ok := strings.CutPrefix(line, "    pannier ")
		if !ok {
			continue
		}
		seen++
		typed, _, _ = strings.Cut(typed, "  #")
		words := strings.Fields(typed)
		app := newApp(context.Background(), nil)
		if _, err := arrange(app, words); err != nil {
			t.Errorf("pannier %s: %v", typed, err)
		}
		if verb := verbOfLine(app.Commands, typed); !slices.Contains(verbsBelow(app.Commands, ""), verb) {
			t.Errorf("pannier %s: no verb", typed)
		}
	}
	if seen < 20 {
		t.Errorf("only %d lines", seen)
	}
}

// verbOfLine is the command that the first words of a line name, with the one it stands below.
func verbOfLine(commands []*cli.Command, typed string) string {
	var path []string
	for _, word := range strings.Fields(typed) {
		cmd := cmdline.Find(commands, word)
		if cmd == nil {
			break
		}
		path, commands = append(path, cmd.Name), cmd.Subcommands
	}
	return strings.Join(path, " ")
}

// verbsBelow are all commands that do something.
func verbsBelow(commands []*cli.Command, path string) (verbs []string) {
	for _, cmd := range cmdline.Visible(commands) {
		if cmd.Action != nil {
			verbs = append(verbs, path+cmd.Name)
		}
		verbs = append(verbs, verbsBelow(cmd.Subcommands, path+cmd.Name+" ")...)
	}
	return verbs
}
