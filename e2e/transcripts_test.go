package e2e_test

import (
	"flag"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var updateTranscripts = flag.Bool("update", false, "write what is printed into transcripts/")

// TestTranscripts: each verb prints, and ends with, what transcripts/ shows; when asked for the right
// thing, and for the wrong ones most often asked for. README.md there says how they are written.
func TestTranscripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "transcripts", Setup: openConsole(binary(t)), Cmds: consoleCommands,
		UpdateScripts: *updateTranscripts, ContinueOnError: *updateTranscripts,
	})
}
