package otlp

import (
	"fmt"
	"strconv"
	"strings"
)

// Asked reports whether the environment asks for traces: it names where to, or
// OTEL_TRACES_EXPORTER=otlp. The error says why they are not exported although
// they are asked for: it is no reason not to start, since whole clusters set these
// variables for all that runs in them.
func Asked(getenv func(string) string) (bool, error) {
	first := func(keys ...string) (key, value string) {
		for _, key = range keys {
			if value = strings.TrimSpace(getenv(key)); value != "" {
				return key, value
			}
		}
		return key, ""
	}
	if off, _ := strconv.ParseBool(getenv("OTEL_SDK_DISABLED")); off {
		return false, nil
	}
	switch _, kind := first("OTEL_TRACES_EXPORTER"); kind {
	case "":
		if _, endpoint := first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"); endpoint == "" {
			return false, nil
		}
	case "none":
		return false, nil
	case "otlp":
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER: %q is not supported; use otlp or none", kind)
	}
	key, protocol := first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	if protocol != "" && protocol != "http/protobuf" {
		return false, fmt.Errorf("%s: %q is not supported; use http/protobuf, and the collector's port for it (usually 4318)", key, protocol)
	}
	return true, nil
}

// Propagated reports whether contexts pass between apps and their sidecars in the
// headers of W3C Trace Context, as OTEL_PROPAGATORS says; unless said, they do. The
// error names what is not supported; the rest is in force. Baggage is none of that: it
// is in every default, and nothing of it is taken from one app to another.
func Propagated(getenv func(string) string) (tracecontext bool, err error) {
	const key = "OTEL_PROPAGATORS"
	said := strings.TrimSpace(getenv(key))
	if said == "" {
		return true, nil
	}
	var unknown []string
	for word := range strings.SplitSeq(said, ",") {
		switch word = strings.TrimSpace(word); word {
		case "tracecontext":
			tracecontext = true
		case "", "none", "baggage":
		default:
			unknown = append(unknown, strconv.Quote(word))
		}
	}
	if len(unknown) > 0 {
		err = fmt.Errorf("%s: %s not supported; use tracecontext or none", key, strings.Join(unknown, ", "))
	}
	return tracecontext, err
}
