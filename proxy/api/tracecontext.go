package api

import (
	"strings"

	oteltrace "go.opentelemetry.io/otel/trace"
)

// validTrace is a trace context as it came, or nothing where it is malformed.
func validTrace(t string) string {
	if len(t) != 55 || t[2] != '-' || t[35] != '-' || t[52] != '-' || !strings.HasPrefix(t, "00") {
		return ""
	}
	if strings.Trim(t, "0123456789abcdef-") != "" || strings.Count(t, "-") != 3 {
		return ""
	}
	return t
}

// maxState is what of a tracestate must be passed on, at least.
const maxState = 512

// validState is the state of a trace as it came, or nothing where it is malformed, or
// there is no trace.
func validState(traceparent, s string) string {
	if traceparent == "" || len(s) > maxState {
		return ""
	}
	state, err := oteltrace.ParseTraceState(s)
	if err != nil {
		return ""
	}
	return state.String()
}
