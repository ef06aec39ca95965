package api

import (
	"net/http"
	"strings"

	oteltrace "go.opentelemetry.io/otel/trace"

	"pannier/journal/wire"
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

// clientTraceID is what the app calls its trace in X-Trace-Id, or nothing where that is
// too long or no text. SDKs make a UUID up for each call: it is a name to find intents
// by, and no trace context.
func clientTraceID(r *http.Request) string {
	id := r.Header.Get("X-Trace-Id")
	if len(id) > maxClientTrace || strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c > '~' }) {
		return ""
	}
	return id
}

const maxClientTrace = 255

// isOfTrace reports whether an intent is of a trace: as the app that sent it called
// that, or as the context of its creation does.
func isOfTrace(e *wire.Envelope, id string) bool {
	return e.GetClientTraceId() == id || len(id) == 32 && len(e.GetTraceparent()) == 55 && e.Traceparent[3:35] == id
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
