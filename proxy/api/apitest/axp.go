package apitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// axpOf is which of AXP's schemas an answer must match, beside openapi.yaml: one
// line for each route whose family AXP has a schema for.
var axpOf = map[string]string{
	"POST /v1/intents":                                 "public_api/api.intents.create.response.v1",
	"POST /v1/agents/{agent}/intents/{type}":           "public_api/api.intents.create.response.v1",
	"GET /v1/intents/{id}":                             "public_api/api.intents.get.response.v1",
	"GET /v1/intents/{id}/events":                      "public_api/api.intents.events.list.response.v1",
	"POST /v1/intents/{id}/resolve":                    "public_api/api.intents.resolve.response.v1",
	"GET /v1/me/tasks":                                 "public_api/api.tasks.list.response.v1",
	"GET /v1/deliveries":                               "public_api/api.deliveries.list.response.v1",
	"GET /v1/deliveries/{id}":                          "public_api/api.deliveries.get.response.v1",
	"POST /v1/deliveries/{id}/replay":                  "public_api/api.deliveries.replay.response.v1",
	"GET /v1/capabilities":                             "public_api/api.capabilities.get.response.v1",
	"POST /v1/schemas":                                 "public_api/api.schemas.upsert.response.v1",
	"GET /v1/schemas/{type}":                           "public_api/api.schemas.get.response.v1",
	"POST /v1/webhooks/subscriptions":                  "public_api/api.webhooks.subscriptions.response.v1",
	"GET /v1/webhooks/subscriptions":                   "public_api/api.webhooks.subscriptions.list.response.v1",
	"DELETE /v1/webhooks/subscriptions/{id}":           "public_api/api.webhooks.subscriptions.delete.response.v1",
	"POST /v1/webhooks/events":                         "public_api/api.webhooks.events.response.v1",
	"POST /v1/webhooks/events/{id}/replay":             "public_api/api.webhooks.events.replay.response.v1",
	"GET /v1/agents":                                   "public_api/api.agents.list.response.v1",
	"GET /v1/agents/{agent}":                           "public_api/api.agents.get.response.v1",
	"GET /v1/service-accounts":                         "public_api/api.service_accounts.list.response.v1",
	"POST /v1/service-accounts":                        "public_api/api.service_accounts.create.response.v1",
	"GET /v1/service-accounts/{id}":                    "public_api/api.service_accounts.get.response.v1",
	"POST /v1/service-accounts/{id}/keys":              "public_api/api.service_accounts.keys.create.response.v1",
	"POST /v1/service-accounts/{id}/keys/{key}/revoke": "public_api/api.service_accounts.keys.revoke.response.v1",
}

// axpAsks is which of them describes the request: what it allows is not
// refused as malformed.
var axpAsks = map[string]string{
	"POST /v1/intents":              "public_api/api.intents.create.request.v1",
	"POST /v1/intents/{id}/resolve": "public_api/api.intents.resolve.request.v1",
	"POST /v1/webhooks/events":      "public_api/api.webhooks.events.request.v1",
}

const (
	axpError  = "protocol/intent.error.v1"
	axpEvents = "public_api/api.intents.events.list.response.v1"
)

// beyondAXP are answers that say more than AXP's schemas allow, on purpose.
func beyondAXP(x *Exchange) bool {
	switch {
	case x.Request.Header.Get("Prefer") != "": // the outcome is in the answer to create
	case strings.HasPrefix(x.Request.Header.Get("Content-Type"), "application/cloudevents-batch"): // one result each
	case bytes.Contains(x.Body, []byte(`"applied":false`)): // expected_policy_generation, which AXP's SDKs send and its schemas lack
	case bytes.Contains(x.Body, []byte(`"provisional":true`)): // the event has no number yet
	default:
		return false
	}
	return true
}

// AXP is the published JSON schemas of the wire contract.
type AXP struct {
	compiler *jsonschema.Compiler

	mu struct {
		sync.Mutex
		schemas map[string]*jsonschema.Schema
	}
}

// errNoSpec means that the schemas are not on this machine.
var errNoSpec = errors.New("AXP's schemas are not there: set AXP_SPEC to a folder that has schemas/")

// NeedAXP returns the schemas, or skips the test: in CI a proof that is quietly
// not made is no proof, and the test fails.
func NeedAXP(t testing.TB) *AXP {
	t.Helper()
	spec, err := loadAXP()
	switch {
	case errors.Is(err, errNoSpec) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return spec
}

var loadAXP = sync.OnceValues(func() (*AXP, error) {
	dir, err := axpDir()
	if err != nil {
		return nil, err
	}
	// Formats are annotations in its dialect, and have to be: correlation_id is a uuid
	// there, and any text in the SDKs.
	a := &AXP{compiler: jsonschema.NewCompiler()}
	a.mu.schemas = map[string]*jsonschema.Schema{}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		amend(schema)
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return a.compiler.AddResource(axpURL(strings.TrimSuffix(filepath.ToSlash(name), ".json")), schema)
	})
	return a, err
})

func axpURL(name string) string { return "https://axme.dev/schemas/" + name + ".json" }

// axpDir is AXP_SPEC's schemas, or those in shared/axp-spec beside the repository.
func axpDir() (string, error) {
	spec := os.Getenv("AXP_SPEC")
	if spec == "" {
		at, err := os.Getwd()
		for err == nil {
			if _, missing := os.Stat(filepath.Join(at, "go.mod")); missing == nil {
				break
			}
			if at == filepath.Dir(at) {
				return "", errNoSpec
			}
			at = filepath.Dir(at)
		}
		spec = filepath.Join(at, "..", "shared", "axp-spec")
	}
	dir := filepath.Join(spec, "schemas")
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", errNoSpec
	}
	return dir, nil
}

// amend mends what AXP's own SDKs and protocol say otherwise: the list of events
// forgot TIMED_OUT, a reply_to may be a short bare name, and the CLI reads the
// address of a service account, under another name than one of the schemas has.
func amend(node any) {
	switch n := node.(type) {
	case map[string]any:
		if words, ok := n["enum"].([]any); ok && slices.Contains(words, any("SUBMITTED")) && !slices.Contains(words, any("TIMED_OUT")) {
			n["enum"] = append(words, "TIMED_OUT")
		}
		if properties, ok := n["properties"].(map[string]any); ok && properties["reply_to"] != nil {
			properties["reply_to"] = map[string]any{"type": "string", "minLength": json.Number("1"), "maxLength": json.Number("383")}
		}
		if properties, ok := n["properties"].(map[string]any); ok && properties["created_by_actor_id"] != nil && properties["service_account_id"] != nil {
			for _, name := range []string{"address", "agent_address", "display_name"} {
				properties[name] = map[string]any{"type": "string"}
			}
		}
		for _, v := range n {
			amend(v)
		}
	case []any:
		for _, v := range n {
			amend(v)
		}
	}
}

// Check holds a JSON text to a schema, by its name without .json:
// "public_api/api.intents.get.response.v1".
func (a *AXP) Check(name string, text []byte) error {
	s, err := a.schema(name)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if err := s.Validate(v); err != nil {
		return fmt.Errorf("AXP: %w", err)
	}
	return nil
}

func (a *AXP) schema(name string) (*jsonschema.Schema, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.mu.schemas[name]; s != nil {
		return s, nil
	}
	s, err := a.compiler.Compile(axpURL(name))
	if err != nil {
		return nil, err
	}
	a.mu.schemas[name] = s
	return s, nil
}

// exchange says what of an exchange of a route is not as AXP has it.
func (a *AXP) exchange(route string, x *Exchange) error {
	if name := axpAsks[route]; name != "" && refusesForm(x) && a.Check(name, x.Sent) == nil {
		return errors.New("AXP allows this request")
	}
	switch name := axpOf[route]; {
	case x.Status >= 300:
		return a.errorsIn(x.Body)
	case beyondAXP(x):
		return nil
	case route == "GET /v1/intents/{id}/events/stream":
		return a.frames(x)
	case name != "":
		return a.Check(name, x.Body)
	}
	return a.errorsIn(x.Body)
}

// refusesForm reports whether a plain request was refused for its form. What
// is not built, and addresses that AXP's schema has no rule for, are other reasons.
func refusesForm(x *Exchange) bool {
	var p struct{ Error struct{ Code string } }
	if json.Unmarshal(x.Body, &p) != nil || x.Request.Header.Get("Content-Type") != "application/json" {
		return false
	}
	malformed := x.Status == http.StatusBadRequest || x.Status == http.StatusUnprocessableEntity
	return malformed && p.Error.Code == "schema_invalid"
}

// errorsIn checks the error object of a refusal, or those of the results of many.
func (a *AXP) errorsIn(body []byte) error {
	var doc struct {
		Error   json.RawMessage
		Results []struct{ Error json.RawMessage }
	}
	if json.Unmarshal(body, &doc) != nil {
		return nil // openapi.yaml has a word on that
	}
	var found []error
	if doc.Error != nil {
		found = append(found, a.Check(axpError, doc.Error))
	}
	for _, r := range doc.Results {
		if r.Error != nil {
			found = append(found, a.Check(axpError, r.Error))
		}
	}
	return errors.Join(found...)
}

// frames checks the events of a stream as members of a list.
func (a *AXP) frames(x *Exchange) error {
	for _, frame := range x.frames() {
		event, data, err := readFrame(frame)
		if err != nil || event == "stream.timeout" {
			continue
		}
		if err := a.Check(axpEvents, []byte(`{"ok":true,"events":[`+data+`]}`)); err != nil {
			return err
		}
	}
	return nil
}
