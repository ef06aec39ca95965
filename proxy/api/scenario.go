package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"pannier/journal"
	"pannier/journal/wire"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	applyPath = "POST /v1/scenarios/apply"

	// maxScenario is the size of the largest scenario: all of it is rewritten with each
	// of its steps, beside what that step has said.
	maxScenario = 64 << 10
)

// validateScenario serves POST /v1/scenarios/validate: what apply would say, and nothing
// is done.
func (a *API) validateScenario(w http.ResponseWriter, r *http.Request) error {
	raw, err := a.readBody(w, r, maxScenario)
	if err != nil {
		return err
	}
	s, err := a.readScenario(raw, r)
	if err != nil {
		return err
	}
	if err := a.checkPayload(s.in); err != nil {
		s.faults = append(s.faults, problemOf(err).faults...)
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).boolean("valid", len(s.faults) == 0).key("errors").open('[')
	for _, f := range s.faults {
		d.element(clip(f.Pointer+" "+f.Detail, maxMessage))
	}
	d.close(']').words("warnings", s.warnings)
	return answer(w, d.close('}'))
}

// applyScenario serves POST /v1/scenarios/apply. The intent and its first step are one
// commit; service accounts are made after it, and a repeat under the key makes those
// that a crash has left out.
func (a *API) applyScenario(w http.ResponseWriter, r *http.Request) error {
	if a.isDraining() {
		return errDraining
	}
	key, err := headerKey(r.Header)
	if err != nil {
		return err
	}
	raw, err := a.readBody(w, r, maxScenario)
	if err != nil {
		return err
	}
	s, err := a.readScenario(raw, r)
	if err != nil {
		return err
	}
	if key != "" && s.in.key != "" && key != s.in.key {
		s.fault("/idempotency_key", codeInvalidRequest, "differs from the header Idempotency-Key")
	}
	if key != "" {
		s.in.key = key
	}
	if err := faultsOf(s.faults); err != nil {
		return err
	}
	acc, err := a.acceptScenario(r, s)
	if err != nil {
		return err
	}
	out, err := a.store(r.Context(), []journal.Accept{acc})
	if err == nil {
		err = out[0].Err
	}
	if err != nil {
		return err
	}
	a.provision(r, s)
	i, err := a.journal.Get(out[0].ID)
	if err != nil {
		return err
	}
	markReplayed(w, out[0].Replayed)
	w.Header().Set("Location", "/v1/intents/"+i.ID.String())
	return answerApplied(w, s, i, out[0].Replayed)
}

// acceptScenario is what the journal is asked for.
func (a *API) acceptScenario(r *http.Request, s *scenario) (journal.Accept, error) {
	misfit := a.checkPayload(s.in)
	if misfit != nil && s.in.key == "" {
		return journal.Accept{}, misfit
	}
	in := s.in
	traceparent := validTrace(r.Header.Get("Traceparent"))
	acc := journal.Accept{
		Envelope: &wire.Envelope{
			IntentType: in.intentType, FromAgent: in.from, ToAgent: journal.CoreAgent, CorrelationId: in.correlation, ReplyTo: in.options.replyTo,
			Payload: in.payload, IdempotencyKey: in.key, ClientTraceId: clientTraceID(r),
			Traceparent: traceparent, Tracestate: validState(traceparent, strings.Join(r.Header["Tracestate"], ",")),
		},
		Deadline: in.options.deadline, Plan: s.plan, Refusal: misfit,
	}
	if in.key == "" {
		return acc, nil
	}
	var err error
	acc.Key, err = scopedKey(callerOf(r).identity(), applyPath, in.key, s.fingerprinted())
	return acc, err
}

// fingerprinted is the scenario without its key and the correlation id.
func (s *scenario) fingerprinted() []byte {
	d := &doc{}
	d.open('{').str("from_agent", s.in.from)
	for _, m := range s.body.members {
		switch m.name {
		case "idempotency_key", "from_agent":
		case "intent":
			d.key(m.name).open('{')
			for _, inner := range s.intent.members {
				if inner.name != correlationOption {
					d.raw(inner.name, inner.value)
				}
			}
			d.close('}')
		default:
			d.raw(m.name, m.value)
		}
	}
	return d.close('}').b
}

// provision makes the service accounts that a scenario asks for. One that cannot be made
// is a warning: no delivery needs it.
func (a *API) provision(r *http.Request, s *scenario) {
	for _, agent := range s.agents {
		if !agent.create {
			continue
		}
		if !callerOf(r).May(agent.address) {
			s.warn(agent.at+"/create_if_missing", "is left: the key does not speak for %s, and makes no account for it", clip(agent.address, 64))
			continue
		}
		_, err := a.journal.Account(journal.AccountID(agent.address))
		had := err == nil
		acc, err := a.journal.AddAccount(context.WithoutCancel(r.Context()), &wire.Account{
			Agent: agent.address, Name: accountName(agent.address), DisplayName: agent.display, CreatedBy: actorOf(r),
			OrgId: journal.ID{}.String(), WorkspaceId: journal.ID{}.String(),
		})
		if err != nil {
			s.warn(agent.at+"/create_if_missing", "is not done: %s", problemOf(err).detail)
			continue
		}
		agent.account, agent.created = idText(acc.Id), !had
	}
}

// answerApplied answers with the names that AXP's schema has, and with those that its
// clients read.
func answerApplied(w http.ResponseWriter, s *scenario, i *journal.Intent, replayed bool) error {
	d := newDoc()
	defer d.free()
	compiled := s.compileID()
	d.open('{').boolean("ok", true).str("intent_id", i.ID.String()).str("scenario_id", s.id).str("status", i.Status().String())
	if part := awaitedStep(i.Plan); part != nil && i.Status().Open() {
		d.str("pending_with", part.Child.ToAgent)
	}
	d.str("workflow_compile_id", compiled).str("compile_id", compiled).boolean("idempotent", replayed)
	d.key("agents").open('[')
	for _, agent := range s.agents {
		d.item().open('{').str("role", agent.role).str("address", agent.address).boolean("created", agent.created).close('}')
	}
	d.close(']').key("agents_provisioned").open('[')
	for _, agent := range s.agents {
		if agent.account != "" {
			d.item().open('{').str("address", agent.address).str("service_account_id", agent.account).close('}')
		}
	}
	d.close(']')
	if i.Head != nil {
		d.ms("deadline_at", i.Head.DeadlineAtMs)
	}
	d.ms("created_at", i.Envelope.GetCreatedAtMs()).words("warnings", s.warnings)
	return answer(w, d.close('}'))
}

// compileID names a workflow: the same steps have the same one.
func (s *scenario) compileID() string {
	var text jsontext.Value
	if v, ok := s.body.take("workflow"); ok {
		text = append(text, v...)
	} else {
		text = jsontext.Value("{}")
	}
	_ = text.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)) // it was read as JSON before
	sum := sha256.Sum256(text)
	return "wf_" + hex.EncodeToString(sum[:16])
}

// deadlineFault says what is wrong with a deadline that is given as a time.
func deadlineFault(deadline, now time.Time) string {
	if !deadline.IsZero() && !deadline.After(now) {
		return "has passed"
	}
	return ""
}
