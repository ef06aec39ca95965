package trace

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"pannier/journal"
	"pannier/journal/wire"
)

const (
	scope     = "pannier/proxy/trace"
	schemaURL = semconv.SchemaURL
	system    = "intent" // of messaging; the conventions know no such system
)

// Operations: what a span is named after, beside the address.
const (
	opCreate  = "create"
	opRedrive = "redrive"
	opSend    = "send"
	opProcess = "process"
	opReceive = "receive"
)

// Verbs of settle spans.
const (
	Ack     = "ack"
	Nack    = "nack"
	Reject  = "reject"
	Settle  = "settle" // several at once
	Resolve = "resolve"
	Resume  = "resume"
)

// Our own attributes, where the conventions have none.
const (
	attempt      = attribute.Key("intent.attempt")
	deliveryMode = attribute.Key("intent.delivery_mode") // stream, http or poll
	offerNo      = attribute.Key("intent.offer_no")
	intentType   = attribute.Key("intent.type")
	clientTrace  = attribute.Key("intent.client_trace_id") // X-Trace-Id of the request that created it
	acknowledged = attribute.Key("intent.acknowledged")    // the app works on beyond this span, and will resume or resolve
	replayed     = attribute.Key("intent.replayed")        // its idempotency key was known
)

// messaging are the attributes of every span of an intent. e is nil where its body
// has left the history.
func messaging(kind attribute.KeyValue, op, dest string, id journal.ID, e *wire.Envelope) []attribute.KeyValue {
	out := []attribute.KeyValue{
		semconv.MessagingSystemKey.String(system), semconv.MessagingOperationName(op), kind, semconv.MessagingDestinationName(dest),
	}
	if !id.IsZero() {
		out = append(out, semconv.MessagingMessageID(id.String()))
	}
	if e != nil {
		out = append(out, semconv.MessagingMessageConversationID(e.CorrelationId), semconv.MessagingMessageBodySize(len(e.Payload)), intentType.String(e.IntentType))
		if e.ClientTraceId != "" {
			out = append(out, clientTrace.String(e.ClientTraceId))
		}
	}
	return out
}

// methods are those of HTTP that a span may be named after.
var methods = map[string]bool{http.MethodPost: true, http.MethodPut: true, http.MethodPatch: true, http.MethodDelete: true}
