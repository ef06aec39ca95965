package api

import (
	"net/http"
	"slices"
	"time"

	"pannier/journal"
	"pannier/journal/wire"
)

const (
	maxScheduleName = 64
	maxEvery        = 366 * 24 * 3600 // seconds
	maxPreview      = 100
	usualPreview    = 5
)

// misfires are the words for what becomes of missed times, as the journal numbers them.
var misfires = []string{journal.MisfireOnce: "once", journal.MisfireSkip: "skip", journal.MisfireAll: "all"}

const (
	overlapAllow = "allow"
	overlapSkip  = "skip"
)

// addSchedule serves POST /v1/schedules.
func (a *API) addSchedule(w http.ResponseWriter, r *http.Request) error {
	raw, key, err := a.readKeyed(w, r)
	if err != nil {
		return err
	}
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return err
	}
	s := readSchedule(body)
	in := a.readScheduled(body)
	if err := faultsOf(faults); err != nil {
		return err
	}
	// As if it were sent now: whoever may not send it may not have it sent.
	acc, err := a.acceptable(r, in, time.Now())
	if err != nil {
		return err
	}
	s.Template, s.Plan, s.AskedOf, s.DelayMs = acc.Envelope, acc.Plan, acc.Asked, in.options.delay.Milliseconds()
	// Its intents are no part of what this request is part of.
	s.Template.Traceparent, s.Template.Tracestate, s.Template.ClientTraceId = "", "", ""
	kept, replayed, err := a.journal.AddSchedule(r.Context(), s, key)
	if err == nil && kept == nil {
		err = errNoSchedule("what this key has made")
	}
	if err != nil {
		return err
	}
	markReplayed(w, replayed)
	return answerSchedule(w, kept, 0)
}

// readSchedule reads when, and under which name.
func readSchedule(body *object) *wire.Schedule {
	s := &wire.Schedule{
		Name: body.label("name", maxScheduleName), Cron: body.text("cron", maxScheduleName*4), TimeZone: body.text("time_zone", maxScheduleName),
	}
	every, often := body.integer("every_seconds", 1, maxEvery)
	s.EveryMs = every * time.Second.Milliseconds()
	switch {
	case body.has("cron") == body.has("every_seconds"):
		body.fault("cron", codeSchemaInvalid, "or every_seconds is required, and not both")
	case often && s.TimeZone != "":
		body.fault("time_zone", codeInvalidRequest, "is for cron: every_seconds counts time that passes")
	case s.Cron != "":
		if _, err := journal.TableOf(s); err != nil {
			body.fault("cron", codeSchemaInvalid, "%s", err)
		}
	}
	if word := body.text("misfire", maxScheduleName); word != "" {
		body.oneOf("misfire", word, misfires)
		s.Misfire = uint32(max(0, slices.Index(misfires, word)))
	}
	word := body.text("overlap", maxScheduleName)
	body.oneOf("overlap", word, []string{overlapAllow, overlapSkip})
	s.SkipOverlap = word == overlapSkip
	s.Paused, _ = body.boolean("paused")
	s.Asked = body.object("intent")
	body.refuseRest([]string{"name", "cron", "time_zone", "every_seconds", "misfire", "overlap", "paused", "intent"})
	return s
}

// momentary are options of an intent that name a time: right for one run, past for the next.
var momentary = []string{"deliver_at", "deliver_by", "deadline_at"}

// readScheduled reads the intent of a schedule: what POST /v1/intents takes, but for what
// can be meant of one intent alone.
func (a *API) readScheduled(body *object) *asked {
	raw := body.object("intent")
	switch {
	case raw == nil:
		body.fault("intent", codeSchemaInvalid, "is required: a JSON object, as POST /v1/intents takes it")
		return nil
	case len(raw) > journal.MaxScheduled:
		body.fault("intent", codePayloadTooLarge, "has %d bytes; the limit is %d", len(raw), journal.MaxScheduled)
		return nil
	}
	o, err := parseObject(raw, body.pointer("intent"), body.faults)
	if err != nil {
		body.fault("intent", codeSchemaInvalid, "must be a JSON object")
		return nil
	}
	if o.has("idempotency_key") {
		o.fault("idempotency_key", codeInvalidRequest, "is of one intent; those of a schedule have ids made of their times")
	}
	in := a.readIntent(o, http.Header{})
	for _, name := range momentary {
		if at := in.options.pointer(name); at != "" {
			*o.faults = append(*o.faults, fault{at, "names one time, and a schedule has many", codeInvalidRequest})
		}
	}
	in.at = "/intent" + in.at
	if !o.has("correlation_id") && !o.has("correlationId") && in.options.pointer(correlationOption) == "" {
		in.correlation = "" // each has its own
	}
	return in
}

// seeSchedule is the schedule of a path. That of an agent that is not the caller's is as
// if there were none.
func (a *API) seeSchedule(r *http.Request) (*wire.Schedule, error) {
	id, err := journal.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, errNoSchedule(clip(r.PathValue("id"), 64))
	}
	s := a.journal.Schedule(id)
	if s == nil || !callerOf(r).May(s.Template.FromAgent) {
		return nil, errNoSchedule(id.String())
	}
	return s, nil
}

func errNoSchedule(what string) error {
	return refuse(codeScheduleNotFound, "no schedule %q at this sidecar", what)
}

// schedules serves GET /v1/schedules.
func (a *API) schedules(w http.ResponseWriter, r *http.Request) error {
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("schedules").open('[')
	for _, s := range a.journal.Schedules() {
		if callerOf(r).May(s.Template.FromAgent) {
			d.item()
			writeSchedule(d, s)
		}
	}
	return answer(w, d.close(']').close('}'))
}

// schedule serves GET /v1/schedules/{id}, with the times to come.
func (a *API) schedule(w http.ResponseWriter, r *http.Request) error {
	s, err := a.seeSchedule(r)
	if err != nil {
		return err
	}
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	next := int(q.integer("next", usualPreview, 0, maxPreview))
	if err := q.err(); err != nil {
		return err
	}
	return answerSchedule(w, s, next)
}

// pauseSchedule serves POST /v1/schedules/{id}/pause.
func (a *API) pauseSchedule(w http.ResponseWriter, r *http.Request) error {
	return a.setPaused(w, r, true)
}

// resumeSchedule serves POST /v1/schedules/{id}/resume.
func (a *API) resumeSchedule(w http.ResponseWriter, r *http.Request) error {
	return a.setPaused(w, r, false)
}

func (a *API) setPaused(w http.ResponseWriter, r *http.Request, pause bool) error {
	if a.isDraining() {
		return errDraining
	}
	s, err := a.seeSchedule(r)
	if err != nil {
		return err
	}
	if _, err := journal.TableOf(s); err != nil && !pause {
		return refuseFaults([]fault{{"the schedule's time_zone", err.Error(), codeSchemaInvalid}})
	}
	if s, err = a.journal.PauseSchedule(r.Context(), journal.ID(s.Id), pause); err != nil {
		return err
	}
	return answerSchedule(w, s, 0)
}

// removeSchedule serves DELETE /v1/schedules/{id}.
func (a *API) removeSchedule(w http.ResponseWriter, r *http.Request) error {
	if a.isDraining() {
		return errDraining
	}
	s, err := a.seeSchedule(r)
	if err != nil {
		return err
	}
	if err := a.journal.RemoveSchedule(r.Context(), journal.ID(s.Id)); err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	return answer(w, d.open('{').boolean("ok", true).str("schedule_id", journal.ID(s.Id).String()).close('}'))
}

// answerSchedule answers with a schedule and the next times it is due.
func answerSchedule(w http.ResponseWriter, s *wire.Schedule, next int) error {
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("schedule")
	writeSchedule(d, s)
	if next > 0 {
		d.key("next").open('[')
		table, err := journal.TableOf(s)
		for at := time.UnixMilli(s.NextMs); err == nil && next > 0 && !at.IsZero(); at = table.Next(at) {
			d.moment(at)
			next--
		}
		d.close(']')
	}
	return answer(w, d.close('}'))
}

func writeSchedule(d *doc, s *wire.Schedule) {
	d.open('{').str("schedule_id", journal.ID(s.Id).String()).opt("name", s.Name)
	if s.Cron != "" {
		zone := s.TimeZone
		if zone == "" {
			zone = "UTC"
		}
		d.str("cron", s.Cron).str("time_zone", zone)
	} else {
		d.num("every_seconds", s.EveryMs/time.Second.Milliseconds())
	}
	overlap := overlapAllow
	if s.SkipOverlap {
		overlap = overlapSkip
	}
	d.str("misfire", misfires[min(int(s.Misfire), len(misfires)-1)]).str("overlap", overlap)
	d.boolean("paused", s.Paused).opt("fault", s.Fault)
	if !s.Paused {
		d.ms("next_at", s.NextMs)
	}
	d.ms("created_at", s.CreatedMs).ms("updated_at", s.UpdatedMs)
	d.str("from_agent", s.Template.FromAgent).str("to_agent", s.Template.ToAgent).raw("intent", s.Asked)
	d.key("runs").open('[')
	for _, run := range slices.Backward(s.Runs) { // newest first, as in any list
		d.item().open('{').ms("due_at", run.DueMs).ms("since", run.SinceMs)
		if id, err := journal.IDOf(run.Intent); err == nil {
			d.str("intent_id", id.String())
		}
		d.opt("why", run.Why).close('}')
	}
	d.close(']').close('}')
}

// moment is time as an element of a list.
func (d *doc) moment(t time.Time) *doc {
	return d.element(t.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}
