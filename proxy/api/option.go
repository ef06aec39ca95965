package api

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"pannier/journal"
	"pannier/journal/wire"
)

// option is a delivery option of an intent. It is given in the body's
// "delivery" object, as a header (x_y is Pannier-X-Y) or, where AXP has a
// field of that name, at the top of the body.
type option struct {
	name   string
	top    bool // AXP has it at the top of the body
	number bool // its value is a number
	later  bool // known, but not built: refused rather than ignored
}

var optionTable = []option{
	{name: "deliver_at"},
	{name: "delay_seconds", number: true},
	{name: "deliver_by"},
	{name: "deadline_at", top: true},
	{name: "max_delivery_attempts", top: true, number: true},
	{name: "on_exhausted"},
	{name: "durability"},
	{name: "reply_to", top: true},
	{name: correlationOption}, // at the top of the body it is the intent's own field
	{name: "ordering_key", later: true},
	{name: "priority", later: true},
	{name: gatesOption},
}

const (
	correlationOption = "correlation_id"
	gatesOption       = "gates"

	optionHeader   = "Pannier-"
	maxAttempts    = 10_000
	maxDelay       = 10 * 365 * 24 * 3600 // seconds
	notAvailable   = "is not available yet; it is refused rather than ignored"
	inDeliveryOnly = `belongs into the "delivery" object; here it would do nothing`
)

// headerName is how an option is spelled as a header, in canonical form.
func (o option) headerName() string {
	return http.CanonicalHeaderKey(optionHeader + strings.ReplaceAll(o.name, "_", "-"))
}

// given is an option as the request had it: the value as JSON, and where.
type given struct {
	option
	value   jsontext.Value
	pointer string
}

// options are the delivery options of one intent.
type options struct {
	given []given // as asked for: what the fingerprint covers

	deliverAt, deliverBy, deadline time.Time
	delay                          time.Duration
	attempts                       uint32
	hold, receiver                 bool
	replyTo, correlation           string
	gates                          []*gate
}

// readOptions gathers the options from body (nil: none) and header. names maps
// an option to its name at the top of the body.
func readOptions(body *object, names func(string) string, header http.Header, faults *[]fault) *options {
	o := &options{}
	if body != nil {
		o.gatherDelivery(body, faults)
		o.gatherTop(body, names)
	}
	o.gatherHeader(header, faults)
	o.dropRepeats(faults)
	for _, g := range o.given {
		if g.later {
			*faults = append(*faults, fault{g.pointer, notAvailable, codeNotAvailable})
			continue
		}
		if g.name == gatesOption {
			o.gates = readGates(g, faults)
			continue
		}
		if why := o.set(g); why != "" {
			*faults = append(*faults, fault{g.pointer, why, codeSchemaInvalid})
		}
	}
	o.check(faults)
	return o
}

func (o *options) gatherDelivery(body *object, faults *[]fault) {
	raw := body.object("delivery")
	if raw == nil {
		return
	}
	delivery, err := parseObject(raw, body.pointer("delivery"), faults)
	if err != nil {
		body.fault("delivery", codeSchemaInvalid, "must be a JSON object")
		return
	}
	for _, opt := range optionTable {
		if v, ok := delivery.take(opt.name); ok {
			o.given = append(o.given, given{opt, v, delivery.pointer(opt.name)})
		}
	}
	delivery.refuseRest(optionNames())
}

func (o *options) gatherTop(body *object, names func(string) string) {
	for _, opt := range optionTable {
		if !opt.top {
			continue
		}
		name := names(opt.name)
		if v, ok := body.take(name); ok {
			o.given = append(o.given, given{opt, v, body.pointer(name)})
		}
	}
}

func (o *options) gatherHeader(header http.Header, faults *[]fault) {
	for name, values := range header {
		if !strings.HasPrefix(name, optionHeader) {
			continue
		}
		i := slices.IndexFunc(optionTable, func(opt option) bool { return opt.headerName() == name })
		if i < 0 {
			*faults = append(*faults, fault{"header " + name, "is no option" + didYouMean(name, headerNames()), codeSchemaInvalid})
			continue
		}
		for _, v := range values {
			raw := jsontext.Value(v)
			if opt := optionTable[i]; !opt.number || !raw.IsValid() {
				raw, _ = jsontext.AppendQuote(nil, v) // bad UTF-8 is replaced; no option takes it
			}
			o.given = append(o.given, given{optionTable[i], raw, "header " + name})
		}
	}
	// A header map has no order; the fingerprint and the message have one.
	slices.SortStableFunc(o.given, func(a, b given) int { return strings.Compare(a.name, b.name) })
}

// dropRepeats keeps one of several equal values and refuses different ones.
func (o *options) dropRepeats(faults *[]fault) {
	kept := o.given[:0]
	for _, g := range o.given {
		last := len(kept) - 1
		if last < 0 || kept[last].name != g.name {
			kept = append(kept, g)
			continue
		}
		if !bytes.Equal(kept[last].value, g.value) {
			*faults = append(*faults, fault{g.pointer, "differs from " + kept[last].pointer, codeInvalidRequest})
		}
	}
	o.given = kept
}

// set reads one option and says what is wrong with it, or nothing.
func (o *options) set(g given) (why string) {
	var n int64
	switch g.name {
	case "deliver_at":
		o.deliverAt, why = readTime(g.value)
	case "deliver_by":
		o.deliverBy, why = readTime(g.value)
	case "deadline_at":
		o.deadline, why = readTime(g.value)
	case "delay_seconds":
		n, why = readInteger(g.value, 0, maxDelay)
		o.delay = time.Duration(n) * time.Second
	case "max_delivery_attempts":
		n, why = readInteger(g.value, 1, maxAttempts)
		o.attempts = uint32(n)
	case "on_exhausted":
		o.hold, why = readChoice(g.value, "fail", "hold")
	case "durability":
		o.receiver, why = readChoice(g.value, "local", "receiver")
	case correlationOption:
		if o.correlation, why = readText(g.value, maxCorrelation); why == "" {
			why = labelFault(o.correlation)
		}
	case "reply_to":
		var text string
		if text, why = readText(g.value, maxAddress+len("agent://")); why == "" {
			o.replyTo, why = readAddress(text)
		}
	}
	return why
}

// check refuses options that contradict each other.
func (o *options) check(faults *[]fault) {
	by := o.pointer
	contradict := func(at, why string) { *faults = append(*faults, fault{at, why, codeInvalidRequest}) }
	if by("deliver_at") != "" && by("delay_seconds") != "" {
		contradict(by("delay_seconds"), "and deliver_at are both given")
	}
	if !o.deliverBy.IsZero() && !o.deliverAt.IsZero() && o.deliverBy.Before(o.deliverAt) {
		contradict(by("deliver_by"), "is before deliver_at")
	}
	if !o.deadline.IsZero() && !o.deliverAt.IsZero() && o.deadline.Before(o.deliverAt) {
		contradict(by("deadline_at"), "is before deliver_at")
	}
}

// notForTasks are options of a delivery, which what a person is asked does not have.
var notForTasks = []string{"deliver_at", "delay_seconds", "deliver_by", "max_delivery_attempts", "on_exhausted", "durability", gatesOption}

func (o *options) refuseForTask(faults *[]fault) {
	for _, name := range notForTasks {
		if at := o.pointer(name); at != "" {
			*faults = append(*faults, fault{at, "is for what is delivered to an app; with human_task a person is asked at once, until deadline_at", codeInvalidRequest})
		}
	}
}

// pointer is where an option was given; "" where it was not.
func (o *options) pointer(name string) string {
	for _, g := range o.given {
		if g.name == name {
			return g.pointer
		}
	}
	return ""
}

// apply writes the options into what the journal is asked to accept.
func (o *options) apply(a *journal.Accept, e *wire.Envelope, now time.Time) {
	a.DeliverBy, a.Deadline, a.DeliverAt = o.deliverBy, o.deadline, o.deliverAt
	if o.delay > 0 {
		a.DeliverAt = now.Add(o.delay)
	}
	e.MaxDeliveryAttempts = o.attempts
	e.HoldWhenExhausted = o.hold
	e.ReceiverDurability = o.receiver
	e.ReplyTo = o.replyTo
}

func readTime(raw jsontext.Value) (t time.Time, why string) {
	text, why := readText(raw, 64)
	if why != "" {
		return time.Time{}, why
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, "must be an RFC 3339 time such as 2026-11-23T18:00:00Z"
	}
	if t.Year() < 2000 {
		return time.Time{}, "is a time before the year 2000"
	}
	return t, ""
}

// readChoice reads one of two words; second reports whether it was the second.
func readChoice(raw jsontext.Value, first, other string) (second bool, why string) {
	switch text, _ := readText(raw, 64); text {
	case first:
		return false, ""
	case other:
		return true, ""
	}
	return false, `must be "` + first + `" or "` + other + `"`
}

// readAddress is Address for a field that is one fault among others.
func readAddress(text string) (address, why string) {
	address, err := Address(text)
	if err != nil {
		return "", err.Error()
	}
	return address, ""
}

func optionNames() []string {
	names := make([]string, len(optionTable))
	for i, opt := range optionTable {
		names[i] = opt.name
	}
	return names
}

func headerNames() []string {
	names := make([]string, len(optionTable))
	for i, opt := range optionTable {
		names[i] = opt.headerName()
	}
	return names
}

// refuseRest refuses the members nobody has taken, with the name they may have
// been meant to be.
func (o *object) refuseRest(known []string) {
	rest := o.rest()
	for _, m := range rest[:min(len(rest), maxFaults)] {
		o.fault(m.name, codeSchemaInvalid, "is not a field%s", didYouMean(m.name, known))
	}
}

// didYouMean names the known word that is at most two edits away.
func didYouMean(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(clip(word, 64), k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
