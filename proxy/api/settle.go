package api

import (
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"pannier/journal"
	"pannier/proxy/trace"
)

var actions = map[string]journal.Action{"ack": journal.Ack, "nack": journal.Nack, "extend": journal.Extend}

const (
	usualBackoff = -1
	maxNackDelay = 24 * 3600
)

// ack serves POST /v1/intents/{id}/ack.
func (a *API) ack(w http.ResponseWriter, r *http.Request) error {
	return a.settleOne(w, r, journal.Ack)
}

// nack serves POST /v1/intents/{id}/nack.
func (a *API) nack(w http.ResponseWriter, r *http.Request) error {
	return a.settleOne(w, r, journal.Nack)
}

// extend serves POST /v1/intents/{id}/extend.
func (a *API) extend(w http.ResponseWriter, r *http.Request) error {
	return a.settleOne(w, r, journal.Extend)
}

// settleOne takes one answer under its lease. A 200 means it is journaled here
// and will reach home; until then the app may repeat it.
func (a *API) settleOne(w http.ResponseWriter, r *http.Request, action journal.Action) error {
	id, err := pathID(r)
	if err == nil {
		err = a.seeReceived(r, id)
	}
	if err != nil {
		return err
	}
	raw, err := a.readBody(w, r, a.opt.MaxBody)
	if err != nil {
		return err
	}
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return err
	}
	s := journal.Settle{ID: id, Action: action}
	readSettle(body, &s, nil)
	if len(faults) > 0 {
		return refuseFaults(faults)
	}
	began := time.Now()
	out, err := a.mailbox.Settle(r.Context(), []journal.Settle{s})
	if err == nil {
		err = out[0].Err
	}
	if s.Action != journal.Extend {
		defer a.opt.Tracer.Settled(r.Context(), verbOf(&s), began, []journal.ID{id}, spanCode(err))
	}
	if err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).str("intent_id", id.String())
	writeSettled(d, &out[0])
	return answer(w, d.close('}'))
}

// verbOf names what a settle does in its span.
func verbOf(s *journal.Settle) string {
	switch {
	case s.Action == journal.Ack:
		return trace.Ack
	case s.Reject:
		return trace.Reject
	}
	return trace.Nack
}

func writeSettled(d *doc, res *journal.Settled) {
	d.str("status", res.Status.String())
	if !res.Until.IsZero() {
		d.time("lease_until", res.Until)
	}
}

// settle serves POST /v1/agents/{agent}/intents:settle: many answers, one
// result for each, one commit as far as it fits.
func (a *API) settle(w http.ResponseWriter, r *http.Request, agent, _ string) error {
	if err := callerOf(r).mayReceive(agent); err != nil {
		return err
	}
	no, known := a.journal.AgentNo(agent)
	items, err := a.readItems(w, r, "items")
	if err != nil {
		return err
	}
	results := make([]journal.Settled, len(items))
	var settles []journal.Settle
	var index []int // of settles in results
	for i, raw := range items {
		s, err := readSettleItem(raw)
		if s.Agent = no; err == nil && !known {
			err = journal.ErrNotFound
		}
		if err != nil {
			results[i].Err = err
			continue
		}
		settles, index = append(settles, s), append(index, i)
	}
	if len(settles) > 0 {
		began := time.Now()
		out, err := a.mailbox.Settle(r.Context(), settles)
		if err != nil {
			return err
		}
		var settled []journal.ID
		for k, res := range out {
			results[index[k]] = res
			if res.Err == nil && settles[k].Action != journal.Extend {
				settled = append(settled, settles[k].ID)
			}
		}
		defer a.opt.Tracer.Settled(r.Context(), trace.Settle, began, settled, "")
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("results").open('[')
	for i := range results {
		d.item()
		if err := results[i].Err; err != nil {
			writeItemError(d, err)
			continue
		}
		d.open('{').boolean("ok", true)
		writeSettled(d, &results[i])
		d.close('}')
	}
	return answer(w, d.close(']').close('}'))
}

func readSettleItem(raw jsontext.Value) (journal.Settle, error) {
	var s journal.Settle
	var faults []fault
	body, err := parseObject(raw, "", &faults)
	if err != nil {
		return s, err
	}
	s.ID = body.id("intent_id")
	word := body.required("action", 16)
	if s.Action = actions[word]; s.Action == 0 {
		if word != "" {
			body.fault("action", codeSchemaInvalid, "must be ack, nack or extend")
		}
		return s, refuseFaults(faults)
	}
	readSettle(body, &s, []string{"intent_id", "action"})
	if len(faults) > 0 {
		return s, refuseFaults(faults)
	}
	return s, nil
}

// readSettle reads the fields of the action. It is our own body, not AXP's: a
// field that is none of the action's would be lost, and is refused.
func readSettle(body *object, s *journal.Settle, known []string) {
	known = append(known, "lease_id")
	s.Lease = body.id("lease_id")
	switch s.Action {
	case journal.Ack:
		known = append(known, "result")
		s.Result = body.object("result")
	case journal.Nack:
		known = append(known, "delay_seconds", "reason", "reject")
		s.Reason = body.text("reason", maxReason)
		s.Reject, _ = body.boolean("reject")
		s.Delay = usualBackoff
		if n, given := body.integer("delay_seconds", 0, maxNackDelay); given {
			s.Delay = time.Duration(n) * time.Second
			if s.Reject {
				body.fault("delay_seconds", codeInvalidRequest, "and reject are both given")
			}
		}
	case journal.Extend:
		known = append(known, "lease_seconds")
		n, _ := body.integer("lease_seconds", 1, maxLease)
		s.For = time.Duration(n) * time.Second // 0: the mailbox's work_timeout
	}
	body.refuseRest(known)
}

// id takes a member that must be a UUID.
func (o *object) id(name string) journal.ID {
	text := o.required(name, 64)
	if text == "" {
		return journal.ID{}
	}
	id, err := journal.ParseID(text)
	if err != nil {
		o.fault(name, codeSchemaInvalid, "must be a UUID")
	}
	return id
}
