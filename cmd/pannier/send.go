package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// defaultType is the type of an intent nobody named one for.
const defaultType = "intent.message.v1"

const sendHelp = `The arguments are a type and a payload, each optional:

   pannier send --to billing '{"order_id":"ORD-1"}' --wait
   pannier send order.process.v1 '{"a":1}' --to agent://dev/local/billing
   pannier send order.process.v1 order.json --to billing
   jq -n '{a:1}' | pannier send - --to billing
   pannier send --to finance --ask 'Pay 900 EUR?' '{"amount":900}' --wait=1h

A payload begins with "{", is "-" for standard input, or is the path of a file, which contains a
slash or ends in ".json". The id goes to stdout; with --wait, the event that ended it follows.`

// optionalDuration is a flag that works bare and with a value: --wait and --wait=30s.
type optionalDuration struct {
	set   bool
	value time.Duration
}

func (o *optionalDuration) IsBoolFlag() bool { return true }

func (o *optionalDuration) String() string { return o.value.String() }

func (o *optionalDuration) Set(text string) error {
	o.set = true
	if text == "true" { // the flag package's word for a bare flag
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a duration like 30s", text)
	}
	o.value = d
	return nil
}

// accepts tells whether the word behind the bare flag can only be meant as its value.
func (o *optionalDuration) accepts(word string) bool {
	_, err := time.ParseDuration(word)
	return err == nil
}

func sendCommand() *cli.Command {
	wait := &optionalDuration{value: 30 * time.Second}
	return &cli.Command{
		Name: "send", Usage: "send an intent", ArgsUsage: "[TYPE] [JSON|FILE|-]", Description: sendHelp,
		Flags: append(appFlags(),
			&cli.StringFlag{Name: "to", Usage: "`AGENT` that is to get it (required)"},
			&cli.StringFlag{Name: "from", Usage: "`AGENT` that sends it (default: the sidecar's first agent)"},
			&cli.StringFlag{Name: "type", Usage: "intent `TYPE` (default: " + defaultType + ")"},
			&cli.StringFlag{Name: "data", Usage: "payload, a `JSON` object (default: {})"},
			&cli.StringFlag{Name: "correlation-id", Usage: "`ID` shared by all intents of one piece of work"},
			&cli.StringFlag{Name: "idempotency-key", Usage: "`KEY` that makes a repeated send one intent"},
			&cli.StringFlag{Name: "durability", Usage: "`WHERE` it is to be durable before the answer: local or receiver (default: local)"},
			&cli.IntFlag{Name: "max-delivery-attempts", DefaultText: "the sidecar's", Usage: "give up after `N` failed attempts"},
			&cli.StringFlag{Name: "deliver-by", Usage: "to be taken by then: a `DURATION` or an RFC 3339 time"},
			&cli.StringFlag{Name: "deadline", Usage: "to have ended by then: a `DURATION` or an RFC 3339 time"},
			&cli.StringSliceFlag{Name: "gate", Usage: "offer it when `AGENT` has approved it; several are asked in turn"},
			&cli.StringFlag{Name: "ask", Usage: "ask a person, not an app: `QUESTION`; \"pannier inbox\" decides"},
			&cli.GenericFlag{Name: "wait", Value: wait, DefaultText: "30s when given bare", Usage: "wait until it has ended, at most this `DURATION`"},
		),
		Action: func(c *cli.Context) error { return send(c, wait) },
	}
}

func send(c *cli.Context, wait *optionalDuration) error {
	cl, err := appClient(c)
	if err != nil {
		return err
	}
	body, err := newIntent(c, time.Now())
	if err != nil {
		return err
	}
	header := http.Header{}
	if key := c.String("idempotency-key"); key != "" {
		header.Set("Idempotency-Key", key)
	}
	answer, err := cl.call(c.Context, request{
		doing: "send to " + c.String("to"), method: http.MethodPost, path: "/v1/intents", header: header, body: body,
		wait: 5 * time.Second, // what durability "receiver" may take
	})
	if err != nil {
		return err
	}
	id, err := printAccepted(c, cl, answer)
	if err != nil || !wait.set {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, wait.value)
	defer cancel()
	return awaitEnd(ctx, c, cl, id)
}

func printAccepted(c *cli.Context, cl *client, answer json.RawMessage) (id string, err error) {
	var accepted struct {
		ID     string `json:"intent_id"`
		Status string `json:"status"`
	}
	if err := json.Unmarshal(answer, &accepted); err != nil || accepted.ID == "" {
		return "", fmt.Errorf("the answer of %s to the send names no intent_id", cl.target)
	}
	if cl.format != formatText {
		return accepted.ID, printJSON(c.App.Writer, answer)
	}
	talk(c, "accepted at %s for %s (%s)", cl.target, c.String("to"), printable(accepted.Status))
	_, err = fmt.Fprintln(c.App.Writer, accepted.ID)
	return accepted.ID, err
}

// createBody is the body of POST /v1/intents.
type createBody struct {
	IntentType    string          `json:"intent_type"`
	ToAgent       string          `json:"to_agent"`
	FromAgent     string          `json:"from_agent,omitempty"`
	CorrelationID string          `json:"correlation_id,omitempty"`
	Payload       json.RawMessage `json:"payload"`
	HumanTask     *question       `json:"human_task,omitempty"`
	Delivery      deliveryOptions `json:"delivery,omitzero"`
}

type question struct {
	Title string `json:"title"`
}

type deliveryOptions struct {
	Durability  string   `json:"durability,omitempty"`
	Gates       []string `json:"gates,omitempty"`
	MaxAttempts int      `json:"max_delivery_attempts,omitempty"`
	DeliverBy   string   `json:"deliver_by,omitempty"`
	DeadlineAt  string   `json:"deadline_at,omitempty"`
}

func newIntent(c *cli.Context, now time.Time) (createBody, error) {
	if c.String("to") == "" {
		return createBody{}, usageError("send needs --to AGENT").withHint("pannier send --to billing '{\"order_id\":\"ORD-1\"}'")
	}
	intentType, payload, err := whatToSend(c)
	if err != nil {
		return createBody{}, err
	}
	deliverBy, err := moment("deliver-by", c.String("deliver-by"), now)
	if err != nil {
		return createBody{}, err
	}
	deadline, err := moment("deadline", c.String("deadline"), now)
	if err != nil {
		return createBody{}, err
	}
	var ask *question
	if c.IsSet("ask") {
		ask = &question{c.String("ask")}
	}
	var gates []string
	for _, approver := range c.StringSlice("gate") {
		gates = append(gates, agentAddress(approver))
	}
	return createBody{
		IntentType:    intentType,
		ToAgent:       agentAddress(c.String("to")),
		FromAgent:     agentAddress(c.String("from")),
		CorrelationID: c.String("correlation-id"),
		Payload:       payload,
		HumanTask:     ask,
		Delivery: deliveryOptions{
			Durability:  c.String("durability"),
			Gates:       gates,
			MaxAttempts: c.Int("max-delivery-attempts"),
			DeliverBy:   deliverBy,
			DeadlineAt:  deadline,
		},
	}, nil
}

var typePattern = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)

// whatToSend reads type and payload from arguments and flags; each may be given once.
func whatToSend(c *cli.Context) (intentType string, payload json.RawMessage, err error) {
	words := c.Args().Slice()
	intentType = c.String("type")
	if len(words) > 0 && !isPayload(words[0]) {
		if intentType != "" {
			return "", nil, usageError("the type is given twice: --type %s and %s", intentType, words[0])
		}
		if !typePattern.MatchString(words[0]) {
			return "", nil, usageError("%q is neither a type like order.process.v1 nor a payload", words[0]).
				withHint("a payload is a JSON object, -, or a file named with a slash or .json")
		}
		intentType, words = words[0], words[1:]
	}
	if intentType == "" {
		intentType = defaultType
	}
	payload, err = readPayload(c, words)
	return intentType, payload, err
}

// isPayload goes by the word alone, never by which files happen to exist.
func isPayload(word string) bool {
	return word == "-" || strings.HasPrefix(strings.TrimSpace(word), "{") ||
		strings.Contains(word, "/") || strings.HasSuffix(word, ".json")
}

func readPayload(c *cli.Context, words []string) (json.RawMessage, error) {
	if c.IsSet("data") {
		words = append(words, c.String("data"))
	}
	switch {
	case len(words) == 0:
		return json.RawMessage("{}"), nil
	case len(words) > 1:
		return nil, usageError("one intent has one payload, got %d: %s", len(words), strings.Join(words, " and "))
	}
	word := words[0]
	text, err := []byte(word), error(nil)
	switch {
	case word == "-":
		text, err = io.ReadAll(c.App.Reader)
	case isPayload(word) && !strings.HasPrefix(strings.TrimSpace(word), "{"):
		text, err = os.ReadFile(word)
	}
	if err != nil {
		return nil, usageError("cannot read the payload: %v", err).withHint("a payload is a JSON object in single quotes, a file, or - for standard input")
	}
	if !json.Valid(text) {
		return nil, usageError("the payload is not JSON: %.60s", text).withHint("write it in single quotes, and each key in double ones: '{\"order_id\":\"ORD-1\"}'")
	}
	return text, nil
}

// moment reads a time given as a duration from now or as RFC 3339, into RFC 3339.
func moment(flag, text string, now time.Time) (string, error) {
	if text == "" {
		return "", nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d).UTC().Format(time.RFC3339Nano), nil
	}
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return "", usageError("--%s %s is neither a duration like 5m nor a time like 2026-01-02T15:04:05Z", flag, text)
	}
	return text, nil
}
