package api

import (
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// CloudEvents 1.0 are taken wherever AXP's body of one intent is: structured (the
// JSON format), binary (attributes as ce- headers, the body is the data) and, in
// batches, as an array.
//
//	type                     intent_type
//	subject, or toagent      to_agent
//	source                   from_agent, where it is an address
//	id with source           idempotency key: an event that is sent again is known
//	data                     payload: a JSON object
//	correlationid            correlation_id
//	expirytime               deadline_at
//	traceparent, tracestate  the trace context
const (
	mediaEvent      = "application/cloudevents+json"
	mediaEventBatch = "application/cloudevents-batch+json"
	eventHeader     = "Ce-"
)

// eventFormat is how a request carries CloudEvents.
type eventFormat uint8

const (
	noEvent eventFormat = iota
	structured
	binary
	batched
)

// formatOf says whether a request is of CloudEvents. One with the four required
// attributes in its headers is binary, whatever else it is.
func formatOf(h http.Header) eventFormat {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type")) // one that cannot be read is refused later
	switch {
	case media == mediaEvent:
		return structured
	case media == mediaEventBatch:
		return batched
	case h.Get(eventHeader+"Specversion") != "" && h.Get(eventHeader+"Id") != "" && h.Get(eventHeader+"Source") != "" && h.Get(eventHeader+"Type") != "":
		return binary
	}
	return noEvent
}

// event are the attributes of a CloudEvent, still to be read.
type event struct {
	take   func(name string) (text string, given bool)
	at     func(name string) string // how a fault names it
	faults *[]fault
}

func (e *event) fault(name string, c code, why string) {
	*e.faults = append(*e.faults, fault{e.at(name), why, c})
}

// attribute takes one; a required one that is missing or empty is a fault.
func (e *event) attribute(name string, required bool, most int) string {
	text, given := e.take(name)
	switch {
	case required && text == "":
		e.fault(name, codeSchemaInvalid, "is required")
	case given && len(text) > most:
		e.fault(name, codeSchemaInvalid, "is too long")
		return ""
	}
	return text
}

// readStructured reads an event in the JSON format.
func (a *API) readStructured(raw []byte, header http.Header) (*asked, error) {
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return nil, err
	}
	e := &event{faults: &faults, at: body.pointer, take: func(name string) (string, bool) {
		if !body.has(name) {
			return "", false
		}
		return body.text(name, maxEventText), true
	}}
	in := a.readEvent(e, header)
	in.payload, in.at = body.object("data"), "/data"
	switch {
	case body.has("data_base64"):
		body.fault("data_base64", codeNotAvailable, "binary data is not taken; send data, a JSON object")
	case !body.has("data"):
		in.payload = jsontext.Value("{}")
	}
	if kind := body.text("datacontenttype", maxEventText); kind != "" && !isJSON(kind) {
		body.fault("datacontenttype", codeSchemaInvalid, "must be application/json")
	}
	return in, faultsOf(faults)
}

// readBinary reads an event whose attributes are in the headers.
func (a *API) readBinary(raw []byte, header http.Header) (*asked, error) {
	var faults []fault
	e := &event{
		faults: &faults,
		at:     func(name string) string { return "header ce-" + name },
	}
	e.take = func(name string) (string, bool) {
		values := header.Values(eventHeader + name)
		if len(values) == 0 {
			return "", false
		}
		// Header values are percent-encoded once (CloudEvents, HTTP binding 3.1.3.2).
		text, err := url.PathUnescape(values[0])
		if err != nil || !utf8.ValidString(text) || len(values) > 1 {
			e.fault(name, codeSchemaInvalid, "is not one percent-encoded text in UTF-8")
			return "", true
		}
		return text, true
	}
	in := a.readEvent(e, header)
	in.payload = jsontext.Value("{}")
	if len(raw) > 0 {
		var err error
		if in.payload, err = parsePayload(raw); err != nil {
			return nil, err
		}
	}
	return in, faultsOf(faults)
}

const maxEventText = 2048

// readEvent reads all attributes but the data.
func (a *API) readEvent(e *event, header http.Header) *asked {
	in := &asked{path: createPath}
	if version := e.attribute("specversion", true, maxEventText); version != "" && version != "1.0" {
		e.fault("specversion", codeSchemaInvalid, "must be 1.0")
	}
	id, source := e.attribute("id", true, maxEventText), e.attribute("source", true, maxEventText)
	in.key = eventKey(source, id)
	if in.intentType = e.attribute("type", true, maxType); in.intentType != "" && !validType(in.intentType) {
		e.fault("type", codeSchemaInvalid, typeForm)
	}
	in.to = e.receiver()
	if in.from = a.opt.DefaultAgent; source != "" {
		if from, why := readAddress(source); why == "" {
			in.from, in.source = from, from
		}
	}
	if in.correlation = e.attribute("correlationid", false, maxCorrelation); in.correlation != "" {
		if why := labelFault(in.correlation); why != "" {
			e.fault("correlationid", codeSchemaInvalid, why)
		}
	}
	in.traceparent = e.attribute("traceparent", false, maxEventText)
	in.tracestate = e.attribute("tracestate", false, maxEventText)
	in.options = readOptions(nil, nil, withExpiry(header, e), e.faults)
	in.correlate(e.faults)
	return in
}

// receiver is the agent an event is for.
func (e *event) receiver() string {
	name := "toagent"
	text := e.attribute(name, false, maxAddress+len("agent://"))
	if text == "" {
		name = "subject"
		text = e.attribute(name, false, maxAddress+len("agent://"))
	}
	if text == "" {
		e.fault(name, codeSchemaInvalid, "is required: the agent it is for, here or in toagent")
		return ""
	}
	to, why := readAddress(text)
	if why != "" {
		e.fault(name, codeInvalidAddress, why)
	}
	return to
}

// eventKey stands for the event wherever it is sent again: source and id together
// name it (CloudEvents 1.0, 3.1.1).
func eventKey(source, id string) string {
	sum := sha256.Sum256([]byte(source + "\x00" + id))
	return "ce-" + hex.EncodeToString(sum[:])
}

// withExpiry gives the options of the headers a deadline of the event's.
func withExpiry(header http.Header, e *event) http.Header {
	expiry := e.attribute("expirytime", false, maxEventText)
	if expiry == "" {
		return header
	}
	quoted, _ := jsontext.AppendQuote(nil, expiry) // bad UTF-8 is replaced: it is no time then
	if _, why := readTime(quoted); why != "" {
		e.fault("expirytime", codeSchemaInvalid, why)
		return header
	}
	both := header.Clone()
	if both == nil {
		both = http.Header{}
	}
	both.Add(optionHeader+"Deadline-At", expiry)
	return both
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

func faultsOf(faults []fault) error {
	if len(faults) == 0 {
		return nil
	}
	return refuseFaults(faults)
}
