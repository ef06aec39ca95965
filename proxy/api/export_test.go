package api

import (
	"net/http"
	"slices"

	"pannier/journal"
)

// Routes lists the route table as "METHOD path".
func Routes(a *API) []string {
	var out []string
	for _, e := range a.endpoints() {
		out = append(out, e.method+" "+e.path)
	}
	for _, e := range a.agentEndpoints() {
		out = append(out, e.method+" /v1/agents/{agent}"+e.suffix)
	}
	slices.Sort(out)
	return out
}

// ProblemOf returns the status and code an error is answered with.
func ProblemOf(err error) (status int, c string) {
	p := problemOf(err)
	return p.code.entry().status, string(p.code)
}

// CreateRead is what a create body was read as.
type CreateRead struct {
	Type, To, From, Correlation, Key string
	Payload, Fingerprinted           []byte
}

// ReadCreate reads a body of POST /v1/intents as the handler does.
func ReadCreate(raw []byte, h http.Header) (CreateRead, error) {
	in, err := (&API{opt: Options{DefaultAgent: anonymous}}).readPlain(raw, h, "")
	return readAs(in, err)
}

// ReadEvent reads a CloudEvent: in the JSON format, or where binary is set with its
// attributes in the headers.
func ReadEvent(raw []byte, h http.Header, binary bool) (CreateRead, error) {
	a := &API{opt: Options{DefaultAgent: anonymous}}
	if binary {
		in, err := a.readBinary(raw, h)
		return readAs(in, err)
	}
	in, err := a.readStructured(raw, h)
	return readAs(in, err)
}

func readAs(in *asked, err error) (CreateRead, error) {
	if err != nil {
		return CreateRead{}, err
	}
	return CreateRead{in.intentType, in.to, in.from, in.correlation, in.key, in.payload, in.fingerprinted()}, nil
}

// ScopedKey is the key the committer compares.
func ScopedKey(identity, methodAndPath, key string, asked []byte) (*journal.Key, error) {
	return scopedKey(identity, methodAndPath, key, slices.Clone(asked))
}

// ParseKey reads an idempotency key.
func ParseKey(text string) (key, why string) { return parseKey(text) }

// ReadSettleItem reads one item of intents:settle.
func ReadSettleItem(raw []byte) (journal.Settle, error) {
	var faults []fault
	if _, err := parseBody(raw, &faults); err != nil {
		return journal.Settle{}, err
	}
	return readSettleItem(raw)
}

// HealthOf is the health of an agent that was last heard of then.
var HealthOf = healthOf

// RoomOf is how many bytes of large bodies there may be at once, of requests and of answers
// each.
var RoomOf = roomOf
