package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"pannier/journal"
	"pannier/journal/wire"
	"pannier/proxy/webhook"
)

const (
	minCallback    = 8
	maxCallback    = 2048
	maxEventTypes  = 32
	maxDescription = 255
	maxSecret      = 128
)

// eventTypes are AXP's webhook events, and all there are.
var eventTypes = []string{"inbox.thread_created", "inbox.thread_updated", "inbox.reply_received", "invite.accepted", "auth.session_revoked"}

// subscribe serves POST /v1/webhooks/subscriptions.
func (a *API) subscribe(w http.ResponseWriter, r *http.Request) error {
	raw, key, err := a.readKeyed(w, r)
	if err != nil {
		return err
	}
	owner, err := ownerMeant(r)
	if err != nil {
		return err
	}
	var faults []fault
	body, err := parseBody(raw, &faults)
	if err != nil {
		return err
	}
	s := a.readSubscription(body, owner)
	if err := faultsOf(faults); err != nil {
		return err
	}
	kept, replayed, err := a.journal.Subscribe(r.Context(), s, key)
	if err != nil {
		return err
	}
	if owner != "" { // events are of threads, and those are kept from now on
		if err := a.journal.KeepInbox(r.Context(), owner); err != nil {
			return err
		}
	}
	a.opt.Subscribed()
	markReplayed(w, replayed)
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("subscription")
	a.writeSubscription(d, kept)
	return answer(w, d.close('}'))
}

func (a *API) readSubscription(body *object, owner string) *wire.Subscription {
	s := &wire.Subscription{
		Owner:       owner,
		CallbackUrl: body.required("callback_url", maxCallback),
		EventTypes:  body.eventTypes(),
		Secret:      body.text("secret", maxSecret),
		Description: body.text("description", maxDescription),
		Active:      true,
	}
	if active, given := body.boolean("active"); given {
		s.Active = active
	}
	switch {
	case s.CallbackUrl == "":
	case len(s.CallbackUrl) < minCallback:
		body.fault("callback_url", codeSchemaInvalid, "has %d bytes; it needs %d", len(s.CallbackUrl), minCallback)
	default:
		if err := a.opt.CheckCallback(s.CallbackUrl); err != nil {
			body.fault("callback_url", codeSchemaInvalid, "%s", err)
		}
	}
	if s.Secret != "" {
		if _, err := webhook.ParseSecret(s.Secret); err != nil {
			body.fault("secret", codeSchemaInvalid, "is none: %s", err)
		}
	}
	return s
}

func (o *object) eventTypes() (types []string) {
	raw, given := o.take("event_types")
	if !given || raw.Kind() != '[' {
		o.fault("event_types", codeSchemaInvalid, "is required and must be an array")
		return nil
	}
	items, more := splitArray(raw)
	if more || len(items) == 0 || len(items) > maxEventTypes {
		o.fault("event_types", codeSchemaInvalid, "must have 1 to %d items", maxEventTypes)
		return nil
	}
	for _, item := range items {
		text, _ := readText(item, maxType)
		if !slices.Contains(eventTypes, text) {
			o.fault("event_types", codeSchemaInvalid, "must be among %s", strings.Join(eventTypes, ", "))
			return nil
		}
		if !slices.Contains(types, text) {
			types = append(types, text)
		}
	}
	return types
}

// writeSubscription never has the secret in it, only that there is one.
func (a *API) writeSubscription(d *doc, s *wire.Subscription) {
	owner := s.Owner
	if owner == "" {
		owner = a.opt.DefaultAgent
	}
	d.open('{').str("subscription_id", journal.ID(s.Id).String()).str("owner_agent", owner).str("callback_url", s.CallbackUrl)
	d.key("event_types").open('[')
	for _, t := range s.EventTypes {
		d.element(t)
	}
	d.close(']').boolean("active", s.Active && s.RevokedMs == 0)
	if s.Description == "" {
		d.null("description")
	} else {
		d.str("description", s.Description)
	}
	d.ms("created_at", s.CreatedMs).ms("updated_at", s.UpdatedMs)
	if s.RevokedMs == 0 {
		d.null("revoked_at")
	} else {
		d.ms("revoked_at", s.RevokedMs)
	}
	if secret, err := webhook.ParseSecret(s.Secret); err != nil { // none
		d.null("secret_hint")
	} else {
		d.str("secret_hint", "sha256:"+secret.Fingerprint())
	}
	d.close('}')
}

// sees: whoever asks for an owner's subscriptions sees those of nobody too, and who
// names no owner sees all.
func sees(owner string, s *wire.Subscription) bool {
	return owner == "" || s.Owner == "" || s.Owner == owner
}

// subscriptions serves GET /v1/webhooks/subscriptions.
func (a *API) subscriptions(w http.ResponseWriter, r *http.Request) error {
	owner, err := ownerMeant(r)
	if err != nil {
		return err
	}
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	all := q.flag("include_inactive")
	if err := q.err(); err != nil {
		return err
	}
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("subscriptions").open('[')
	for _, s := range a.journal.Subscriptions() {
		if sees(owner, s) && (all || journal.InForce(s)) {
			d.item()
			a.writeSubscription(d, s)
		}
	}
	return answer(w, d.close(']').close('}'))
}

// unsubscribe serves DELETE /v1/webhooks/subscriptions/{id}.
func (a *API) unsubscribe(w http.ResponseWriter, r *http.Request) error {
	owner, err := ownerMeant(r)
	if err != nil {
		return err
	}
	id, err := journal.ParseID(r.PathValue("id"))
	known := err == nil && slices.ContainsFunc(a.journal.Subscriptions(), func(s *wire.Subscription) bool {
		return journal.ID(s.Id) == id && sees(owner, s)
	})
	if !known {
		return refuse(codeSubscriptionNotFound, "no subscription %q of this owner at this sidecar", clip(r.PathValue("id"), 64))
	}
	s, err := a.journal.Unsubscribe(r.Context(), id)
	if err != nil {
		return err
	}
	a.opt.Subscribed()
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).str("subscription_id", id.String()).time("revoked_at", time.UnixMilli(s.RevokedMs))
	return answer(w, d.close('}'))
}

// flag is a parameter that is true, false, 1 or 0.
func (q *query) flag(name string) bool {
	switch text := q.text(name); strings.ToLower(text) {
	case "", "false", "0":
		return false
	case "true", "1":
		return true
	}
	q.fault(name, codeSchemaInvalid, "must be true or false")
	return false
}
