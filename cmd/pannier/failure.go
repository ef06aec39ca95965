package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Exit codes. Scripts branch on them, so none is ever given another meaning.
const (
	exitError       = 1 // anything not listed below
	exitUsage       = 2 // the command line, what it sends, or the configuration is wrong
	exitNotFound    = 3
	exitRefused     = 4 // conflict, policy, or rate limit: the sidecar understood and said no
	exitAuth        = 5
	exitUnreachable = 6 // no sidecar answered
	exitTimeout     = 7 // a wait ran out; the intent goes on
	exitPartly      = 8 // of several, some failed
	exitEndedBadly  = 9 // the intent ended FAILED, TIMED_OUT or CANCELED
)

// exitCodes are all of them, in words.
var exitCodes = []struct {
	exit  int
	means string
}{
	{0, "done"},
	{exitError, "any other error; of check, that something is not delivered; of status, that something needs attention"},
	{exitUsage, "wrong command line, values or configuration"},
	{exitNotFound, "not found"},
	{exitRefused, "refused: a conflict, a policy, a limit"},
	{exitAuth, "wrong or missing key"},
	{exitUnreachable, "no sidecar answers"},
	{exitTimeout, "waiting took too long; the intent goes on"},
	{exitPartly, "of several, some failed"},
	{exitEndedBadly, "the intent ended FAILED, TIMED_OUT or CANCELED"},
}

// failure is an error as its reader needs it: what could not be done, why, what to do now, and a
// code to search for.
type failure struct {
	exit   int
	what   string
	why    string
	hint   string
	code   string
	status int    // of the HTTP answer, 0 without one
	raw    []byte // the answer itself, printed instead of the text under -o json
}

func (f *failure) Error() string {
	var b strings.Builder
	b.WriteString(f.what)
	if f.why != "" {
		fmt.Fprintf(&b, " (%s)", f.why)
	}
	if f.hint != "" {
		b.WriteString("\n  " + f.hint)
	}
	if f.code != "" {
		fmt.Fprintf(&b, "  [%s]", f.code)
	}
	return b.String()
}

func (f *failure) withHint(format string, args ...any) *failure {
	f.hint = fmt.Sprintf(format, args...)
	return f
}

func usageError(format string, args ...any) *failure {
	return &failure{exit: exitUsage, what: fmt.Sprintf(format, args...), code: "usage"}
}

// explain is the text for stderr.
func explain(err error) string {
	var f *failure
	if errors.As(err, &f) && f.raw != nil {
		return string(f.raw)
	}
	if errors.Is(err, context.Canceled) {
		return "error: interrupted"
	}
	return "error: " + err.Error()
}

func exitCode(err error) int {
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		return f.exit
	}
	return exitError
}

// exitForStatus maps the status of a refusal.
func exitForStatus(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge: // what was typed
		return exitUsage
	case http.StatusUnauthorized:
		return exitAuth
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusForbidden, http.StatusConflict, http.StatusTooManyRequests:
		return exitRefused
	}
	return exitError
}
