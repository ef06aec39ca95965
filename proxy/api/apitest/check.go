package apitest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/google/uuid"

	"pannier/proxy/api"
)

// Exchange is a request and its answer. A body may end early where the reader
// of a stream has hung up.
type Exchange struct {
	Request *http.Request
	Sent    []byte
	Status  int
	Header  http.Header
	Body    []byte
}

// Check says what of an exchange is not as it is described.
func (d *Description) Check(x *Exchange) error {
	var found []error
	route, params := d.find(x.Request)
	if route != nil {
		in := d.input(x, route, params)
		if x.Status < 300 {
			if err := d.checkRequest(x, in, route); err != nil && !isTaken(x) {
				found = append(found, fmt.Errorf("answered %d, though the request is not as described: %w", x.Status, err))
			}
		}
		found = append(found, d.checkAnswer(x, in, route))
		if d.axp != nil {
			found = append(found, d.axp.exchange(route.Method+" "+route.Path, x))
		}
	} else if x.Status < 400 {
		found = append(found, fmt.Errorf("answered %d, and openapi.yaml has no such route", x.Status))
	}
	found = append(found, d.checkManners(x))
	if err := errors.Join(found...); err != nil {
		return fmt.Errorf("%s %s → %d: %w\nsent %.600s\ngot %.1200s", x.Request.Method, x.Request.URL.RequestURI(), x.Status, err, x.Sent, x.Body)
	}
	return nil
}

// taken are requests that are not as described, and answered nevertheless.
var taken = []struct {
	why string
	is  func(x *Exchange) bool
}{
	{"a binary CloudEvent: what its body is, the headers say, and a schema cannot", func(x *Exchange) bool {
		return x.Request.Header.Get("Ce-Specversion") != ""
	}},
}

func isTaken(x *Exchange) bool {
	for _, t := range taken {
		if t.is(x) {
			return true
		}
	}
	return false
}

func (d *Description) input(x *Exchange, route *described, params map[string]string) *openapi3filter.RequestValidationInput {
	return &openapi3filter.RequestValidationInput{
		Request: x.Request, PathParams: params, Route: &route.Route, QueryParams: x.Request.URL.Query(),
		Options: &openapi3filter.Options{
			ExcludeRequestBody: true, ExcludeResponseBody: true, IncludeResponseStatus: true, SkipSettingDefaults: true,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, // keys are another test's
		},
	}
}

func (d *Description) checkRequest(x *Exchange, in *openapi3filter.RequestValidationInput, route *described) error {
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
		return err
	}
	body := route.Operation.RequestBody
	switch {
	case body == nil:
		return nil // a GET's body is not read
	case len(x.Sent) == 0 && body.Value.Required:
		return errors.New("it has no body")
	case len(x.Sent) == 0:
		return nil
	}
	media, _, err := mime.ParseMediaType(x.Request.Header.Get("Content-Type"))
	if err != nil || body.Value.Content[media] == nil {
		return fmt.Errorf("a body of Content-Type %q is not described", x.Request.Header.Get("Content-Type"))
	}
	return d.judge(d.open, d.pointer(route, "requestBody", body.Ref)+content(media), x.Sent)
}

// pointer is where a part of an operation stands: in it, or where it refers to.
func (d *Description) pointer(route *described, part, ref string) string {
	if ref != "" {
		return strings.TrimPrefix(ref, "#")
	}
	return "/paths/" + escape(route.Path) + "/" + strings.ToLower(route.Method) + "/" + part
}

func content(media string) string { return "/content/" + escape(media) + "/schema" }

func (d *Description) checkAnswer(x *Exchange, in *openapi3filter.RequestValidationInput, route *described) error {
	word := strconv.Itoa(x.Status)
	response := route.Operation.Responses.Value(word)
	if response == nil {
		word = "default"
		if response = route.Operation.Responses.Default(); response == nil || !anywhere(response.Value.Extensions["x-statuses"], x.Status) {
			return fmt.Errorf("the status %d is not described for %s %s", x.Status, route.Method, route.Path)
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: x.Status, Header: x.Header, Options: in.Options}
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		return err
	}
	media := x.Header.Get("Content-Type")
	if response.Value.Content[media] == nil {
		return fmt.Errorf("the Content-Type %q is not described", media)
	}
	at := d.pointer(route, "responses/"+word, response.Ref)
	if media == "text/event-stream" {
		return d.checkFrames(x, at+"/content/"+escape(media)+"/x-frames", response.Value.Content[media].Extensions["x-frames"])
	}
	return d.judge(d.strict, at+content(media), x.Body)
}

// anywhere reports whether a status is in the list of the response that any
// route may give.
func anywhere(list any, status int) bool {
	statuses, _ := list.([]any)
	return slices.ContainsFunc(statuses, func(s any) bool { return fmt.Sprint(s) == strconv.Itoa(status) })
}

// checkFrames judges the frames of a stream, each by the kind of its event.
func (d *Description) checkFrames(x *Exchange, at string, kinds any) error {
	known, _ := kinds.(map[string]any)
	for _, frame := range x.frames() {
		event, data, err := readFrame(frame)
		if err != nil {
			return fmt.Errorf("the frame %q %w", frame, err)
		}
		if known[event] == nil {
			event = "default"
		}
		if known[event] == nil {
			return fmt.Errorf("the frame %q is of no kind that is described", frame)
		}
		if err := d.judge(d.strict, at+"/"+escape(event), []byte(data)); err != nil {
			return fmt.Errorf("the frame %q: %w", frame, err)
		}
	}
	return nil
}

// frames are those of a stream but its comments, and a last one that was cut.
func (x *Exchange) frames() []string {
	all := strings.Split(string(x.Body), "\n\n")
	return slices.DeleteFunc(all[:len(all)-1], func(frame string) bool {
		return strings.HasPrefix(frame, ": ") && !strings.Contains(frame, "\n")
	})
}

// readFrame reads a frame as strictly as we write it: id, event, data, one
// line each, one space behind each colon.
func readFrame(frame string) (event, data string, err error) {
	lines := strings.Split(frame, "\n")
	if id, ok := strings.CutPrefix(lines[0], "id: "); ok {
		if _, err := strconv.ParseUint(id, 10, 64); err != nil {
			return "", "", errors.New("has an id that is no number")
		}
		lines = lines[1:]
	}
	if len(lines) != 2 {
		return "", "", errors.New("is not id, event, data on one line each")
	}
	event, isEvent := strings.CutPrefix(lines[0], "event: ")
	data, isData := strings.CutPrefix(lines[1], "data: ")
	if !isEvent || !isData {
		return "", "", errors.New("is not id, event, data")
	}
	return event, data, nil
}

// checkManners is what holds of every answer, described or not.
func (d *Description) checkManners(x *Exchange) error {
	var found []error
	complain := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }
	id := x.Header.Get("X-Request-Id")
	if _, err := uuid.Parse(id); err != nil || len(x.Header.Values("X-Request-Id")) != 1 {
		complain("X-Request-Id is %q, want one UUID", x.Header.Values("X-Request-Id"))
	}
	if trace := x.Request.Header.Get("X-Trace-Id"); len(trace) <= 255 && x.Header.Get("X-Trace-Id") != trace {
		complain("X-Trace-Id is %q, want %q", x.Header.Get("X-Trace-Id"), trace)
	}
	switch media := x.Header.Get("Content-Type"); {
	case x.Request.Method == http.MethodHead: // no body
	case x.Status < 300 && media == "text/event-stream":
	case x.Status < 300:
		if object := map[string]json.RawMessage{}; media != "application/json" || json.Unmarshal(x.Body, &object) != nil {
			complain("a 2xx is not a JSON object, but %q", media)
		}
	case media != "application/problem+json":
		complain("a refusal is not a problem document, but %q", media)
	default:
		found = append(found, d.checkProblem(x, id))
	}
	if x.Status == http.StatusTooManyRequests || x.Status == http.StatusServiceUnavailable {
		if n, err := strconv.Atoi(x.Header.Get("Retry-After")); err != nil || n < 1 {
			complain("Retry-After is %q, want whole seconds", x.Header.Get("Retry-After"))
		}
	}
	return errors.Join(found...)
}

// checkProblem compares a problem document with its response and its code.
func (d *Description) checkProblem(x *Exchange, requestID string) error {
	if err := d.judge(d.strict, "/components/schemas/Problem", x.Body); err != nil {
		return err
	}
	var p struct {
		Type, Title, Detail, Instance string
		Status                        int
		Error                         struct {
			Code, Message, Category string
			Retryable               bool
		}
	}
	if err := json.Unmarshal(x.Body, &p); err != nil {
		return err
	}
	k, known := api.Explain(p.Error.Code)
	switch {
	case !known:
		return fmt.Errorf("the code %q is not in the registry", p.Error.Code)
	case p.Status != x.Status || k.Status != x.Status:
		return fmt.Errorf("the status is %d, in the document %d, in the registry %d", x.Status, p.Status, k.Status)
	case p.Error.Category != k.Category || p.Error.Retryable != k.Retryable || p.Title != k.Title:
		return fmt.Errorf("category, retryable or title are not the registry's: %+v", k)
	case p.Type != "urn:pannier:error:"+k.Code || p.Detail != p.Error.Message || p.Instance != "urn:uuid:"+requestID:
		return errors.New("type, detail or instance does not agree with code, message or X-Request-Id")
	}
	return nil
}
