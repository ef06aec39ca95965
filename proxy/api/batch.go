package api

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"pannier/journal"
)

const (
	maxBatch = 1000
	// batchBodies is how many bodies of the single call's limit one batch may
	// be as large as.
	batchBodies = 8
)

// createBatch serves POST /v1/intents:batch: one commit as far as it fits, and
// one result for each item. A key or an option in a header would be for all of
// them at once, which no item asked for.
func (a *API) createBatch(w http.ResponseWriter, r *http.Request) error {
	if a.isDraining() {
		return errDraining
	}
	if err := refuseItemHeaders(r.Header); err != nil {
		return err
	}
	items, err := a.readItems(w, r, "intents")
	if err != nil {
		return err
	}
	return a.acceptMany(w, r, items, a.readBatchItem)
}

// createEvents serves POST /v1/intents with a batch of CloudEvents.
func (a *API) createEvents(w http.ResponseWriter, r *http.Request) error {
	if err := refuseItemHeaders(r.Header); err != nil {
		return err
	}
	raw, err := a.readRaw(w, r, batchBodies*a.opt.MaxBody)
	if err != nil {
		return err
	}
	list, err := parseList(raw)
	if err != nil {
		return err
	}
	items, more := splitArray(list)
	if more {
		return refuseFaults([]fault{{"the body", "has more than " + strconv.Itoa(maxBatch) + " items", codeSchemaInvalid}})
	}
	return a.acceptMany(w, r, items, func(raw jsontext.Value) (*asked, error) { return a.readStructured(raw, nil) })
}

// acceptMany stores what can be read of the items, in one commit as far as it
// fits, and answers with one result for each.
func (a *API) acceptMany(w http.ResponseWriter, r *http.Request, items []jsontext.Value, read func(jsontext.Value) (*asked, error)) error {
	now := time.Now()
	results := make([]journal.Accepted, len(items))
	var accepts []journal.Accept
	var index []int // of accepts in results
	var waiting []int
	for i, raw := range items {
		acc, err := a.acceptItem(raw, r, now, read)
		if err != nil {
			results[i].Err = err
			continue
		}
		if acc.Envelope.ReceiverDurability {
			waiting = append(waiting, i)
		}
		accepts, index = append(accepts, acc), append(index, i)
	}
	if len(accepts) > 0 {
		out, err := a.store(r.Context(), accepts)
		if err != nil {
			return err
		}
		for k, res := range out {
			results[index[k]] = res
		}
	}
	a.freeBody(w) // what comes may wait for others
	a.awaitBatch(w, r, results, waiting)
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("results").open('[')
	for _, res := range results {
		d.item()
		if res.Err != nil {
			writeItemError(d, res.Err)
			continue
		}
		d.open('{')
		writeAccepted(d, res)
		d.close('}')
	}
	return answer(w, d.close(']').close('}'))
}

// awaitBatch waits for the items that asked for durability at the receiver, and
// says what all of them have reached.
func (a *API) awaitBatch(w http.ResponseWriter, r *http.Request, results []journal.Accepted, waiting []int) {
	var ids []journal.ID
	for _, i := range waiting {
		if results[i].Err == nil {
			ids = append(ids, results[i].ID)
		}
	}
	w.Header().Set("Pannier-Durability", a.awaitHeld(r.Context(), ids))
}

func refuseItemHeaders(h http.Header) error {
	for name := range h {
		if name == "Idempotency-Key" || strings.HasPrefix(name, optionHeader) {
			return refuse(codeInvalidRequest, "the header %s is not for a batch: give each item its own", name)
		}
	}
	return nil
}

func (a *API) acceptItem(raw jsontext.Value, r *http.Request, now time.Time, read func(jsontext.Value) (*asked, error)) (journal.Accept, error) {
	if len(raw) > a.opt.MaxBody {
		return journal.Accept{}, tooLarge("the item", int64(a.opt.MaxBody))
	}
	in, err := read(raw)
	if err != nil {
		return journal.Accept{}, err
	}
	return a.acceptable(r, in, now)
}

func (a *API) readBatchItem(raw jsontext.Value) (*asked, error) {
	var faults []fault
	body, err := parseObject(raw, "", &faults)
	if err != nil {
		return nil, err
	}
	return a.readIntent(body, nil), faultsOf(faults)
}

// readItems reads a body that is an object with one array of at most maxBatch
// items. What is wrong inside an item is that item's result.
func (a *API) readItems(w http.ResponseWriter, r *http.Request, name string) ([]jsontext.Value, error) {
	raw, err := a.readBody(w, r, batchBodies*a.opt.MaxBody)
	if err != nil {
		return nil, err
	}
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return nil, err
	}
	list, ok := body.take(name)
	if !ok || list.Kind() != '[' {
		body.fault(name, codeSchemaInvalid, "is required and must be an array")
	}
	body.refuseRest([]string{name})
	if len(faults) > 0 {
		return nil, refuseFaults(faults)
	}
	items, more := splitArray(list)
	if more {
		return nil, refuseFaults([]fault{{"/" + name, "has more than " + strconv.Itoa(maxBatch) + " items", codeSchemaInvalid}})
	}
	return items, nil
}

// splitArray returns the elements of a valid array, up to maxBatch of them.
func splitArray(raw jsontext.Value) (items []jsontext.Value, more bool) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	_, _ = dec.ReadToken() // the array was read before, as part of its body
	for dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil || len(items) == maxBatch {
			return items, true
		}
		end := int(dec.InputOffset())
		items = append(items, raw[end-len(v):end:end])
	}
	return items, false
}

// writeItemError writes the result of an item that was refused.
func writeItemError(d *doc, err error) {
	d.open('{').boolean("ok", false).key("error")
	problemOf(err).writeError(d, time.Now())
	d.close('}')
}
