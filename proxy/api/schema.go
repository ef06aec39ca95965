package api

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"pannier/journal"
	"pannier/journal/wire"
)

const (
	maxSchemaRef  = 512
	maxSchemaType = 255
	// schemaURL is what a schema is compiled as; nothing is ever read there.
	schemaURL = "pannier://schema/"
)

var semanticType = regexp.MustCompile(`^[a-z0-9_]+(?:\.[a-z0-9_]+){2,}\.v[0-9]+$`)

// schemaModes say what a payload that does not fit means. Only warn takes it: that
// a new version takes what an older one took ("backward") is nothing we can tell.
var schemaModes = []string{"strict", "backward", "warn"}

// putSchema serves POST /v1/schemas: from now on payloads of the type are held to
// it, at this sidecar.
func (a *API) putSchema(w http.ResponseWriter, r *http.Request) error {
	raw, key, err := a.readKeyed(w, r)
	if err != nil {
		return err
	}
	owner, err := ownerGiven(r)
	if err != nil {
		return err
	}
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return err
	}
	s, scope := readSchema(body, owner)
	if err := faultsOf(faults); err != nil {
		return err
	}
	if scope == "core" {
		return refuse(codePolicyDenied, "core schemas are nobody's to change; send scope tenant, or none")
	}
	if was := a.journal.Schema(s.SemanticType); was != nil && was.Owner != "" {
		if !callerOf(r).May(was.Owner) {
			return refuse(codePolicyDenied, "semantic_type: the schema of %s is another owner's", clip(s.SemanticType, 64))
		}
		s.Owner = cmp.Or(s.Owner, was.Owner)
	}
	kept, replayed, err := a.journal.PutSchema(r.Context(), s, key)
	if err != nil {
		return err
	}
	markReplayed(w, replayed)
	return answerSchema(w, kept, false)
}

func readSchema(body *object, owner string) (s *wire.Schema, scope string) {
	s = &wire.Schema{
		SemanticType: body.required("semantic_type", maxSchemaType),
		Ref:          body.text("schema_ref", maxSchemaRef),
		Json:         body.object("schema_json"),
		Mode:         body.required("compatibility_mode", 32),
		Owner:        owner,
		Active:       true,
	}
	if s.SemanticType != "" && !semanticType.MatchString(s.SemanticType) {
		body.fault("semantic_type", codeSchemaInvalid, "must be three or more lower-case words joined by dots, and .v and a number")
	}
	body.oneOf("compatibility_mode", s.Mode, schemaModes)
	if scope = body.text("scope", 32); scope != "" {
		body.oneOf("scope", scope, []string{"tenant", "core"})
	}
	if active, given := body.boolean("active"); given {
		s.Active = active
	}
	switch {
	case s.Json == nil:
		if _, given := body.take("schema_json"); !given {
			body.fault("schema_json", codeSchemaInvalid, "is required")
		}
	case len(s.Json) > journal.MaxSchema:
		body.fault("schema_json", codeSchemaInvalid, "has %d bytes; the limit is %d", len(s.Json), journal.MaxSchema)
	default:
		if _, err := compile(s); err != nil {
			body.fault("schema_json", codeSchemaInvalid, "is not a JSON Schema that can be used alone: %s", clip(err.Error(), 300))
		}
	}
	return s, scope
}

// oneOf faults a text that is none of those named.
func (o *object) oneOf(name, text string, all []string) {
	for _, one := range all {
		if text == one || text == "" {
			return
		}
	}
	o.fault(name, codeSchemaInvalid, "must be one of %s", strings.Join(all, ", "))
}

// getSchema serves GET /v1/schemas/{type}.
func (a *API) getSchema(w http.ResponseWriter, r *http.Request) error {
	s := a.journal.Schema(r.PathValue("type"))
	if s == nil {
		return refuse(codeSchemaNotFound, "no schema of type %q at this sidecar", clip(r.PathValue("type"), 64))
	}
	return answerSchema(w, s, true)
}

func answerSchema(w http.ResponseWriter, s *wire.Schema, whole bool) error {
	d := newDoc()
	defer d.free()
	sum := sha256.Sum256(s.Json)
	d.open('{').boolean("ok", true).key("schema").open('{')
	d.str("semantic_type", s.SemanticType).str("schema_ref", cmp.Or(s.Ref, s.SemanticType)).str("schema_hash", hex.EncodeToString(sum[:]))
	d.str("compatibility_mode", s.Mode).str("scope", "tenant")
	if s.Owner == "" {
		d.null("owner_agent")
	} else {
		d.str("owner_agent", s.Owner)
	}
	d.boolean("active", s.Active)
	if whole {
		d.raw("schema_json", s.Json)
	}
	d.ms("created_at", s.CreatedMs).ms("updated_at", s.UpdatedMs)
	return answer(w, d.close('}').close('}'))
}

// compiled are the schemas that have been needed, by type. There are no more of
// them than the journal keeps schemas.
type compiled struct {
	sync.Mutex
	byType map[string]*compiledSchema
}

type compiledSchema struct {
	of     *wire.Schema // as the journal had it then
	schema *contract
	err    error // why there is none
}

// of returns the schema of a type, ready for use.
func (c *compiled) of(s *wire.Schema) (*contract, error) {
	c.Lock()
	defer c.Unlock()
	have := c.byType[s.SemanticType]
	if have == nil || have.of != s {
		if c.byType == nil {
			c.byType = map[string]*compiledSchema{}
		}
		have = &compiledSchema{of: s}
		have.schema, have.err = compile(s)
		c.byType[s.SemanticType] = have
	}
	return have.schema, have.err
}

// compile makes a schema of its text.
func compile(s *wire.Schema) (*contract, error) {
	return newContract(s.Json, schemaURL+s.SemanticType)
}

// CheckPayload holds a payload that takes the place of another to the schema of its
// type, as one that is sent.
func (a *API) CheckPayload(intentType string, payload []byte) error {
	return a.checkPayload(&asked{intentType: intentType, payload: payload, at: "/payload"})
}

// checkPayload holds a payload to the schema of its type, where there is one in
// force, and names each place that does not fit.
func (a *API) checkPayload(in *asked) error {
	s := a.journal.Schema(in.intentType)
	if s == nil || !s.Active {
		return nil
	}
	var faults []fault
	rules := []string{"schema_json"}
	if schema, err := a.compiled.of(s); err == nil {
		faults, rules = schema.misfits(in.payload, in.at)
	} else { // one of before there were today's bounds
		faults = []fault{{in.at, "cannot be held to the schema of its type: " + clip(err.Error(), maxWhy) + ": put another in its place with POST /v1/schemas", codeSchemaInvalid}}
	}
	if len(faults) > 0 && s.Mode == "warn" {
		// Rules, which are the schema's words: those of a fault, and where it is, can be
		// the payload's, and that is in no log.
		a.log.Warn("a payload does not fit its schema", "intent_type", in.intentType, "reason", clip(strings.Join(rules, " "), maxWhere))
		return nil
	}
	return faultsOf(faults)
}

// leaves are the errors that say something, at most maxFaults: those above them only
// say that there are some below.
func leaves(e *jsonschema.ValidationError, found []*jsonschema.ValidationError) []*jsonschema.ValidationError {
	for _, cause := range e.Causes {
		found = leaves(cause, found)
	}
	if len(e.Causes) > 0 || len(found) == maxFaults {
		return found
	}
	return append(found, e)
}

const (
	maxWhere = 512
	maxWhy   = 300
)

var (
	english     = message.NewPrinter(language.English)
	pointerStep = strings.NewReplacer("~", "~0", "/", "~1")
)

// maxNumber bounds the digits of a number that is compared, written out. A schema is
// held against exact values: ten bytes, 1e4000000, are megabytes then, a list of such
// takes hours, and one a little longer is no value at all.
const maxNumber = 1000

// immense finds a number that must not be compared. A document is as deep as a body
// may be.
func immense(v any, at string) (where string, is bool) {
	switch v := v.(type) {
	case json.Number:
		_, exponent, scientific := strings.Cut(strings.ToLower(v.String()), "e")
		shift, err := strconv.Atoi(cmp.Or(exponent, "0"))
		return at, len(v) > maxNumber || scientific && (err != nil || max(shift, -shift) > maxNumber)
	case []any:
		for i, item := range v {
			if where, is = immense(item, at+"/"+strconv.Itoa(i)); is {
				return where, true
			}
		}
	case map[string]any:
		for name, member := range v {
			if where, is = immense(member, at+"/"+pointerStep.Replace(name)); is {
				return where, true
			}
		}
	}
	return "", false
}
