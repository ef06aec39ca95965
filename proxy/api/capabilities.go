package api

import (
	"net/http"
	"regexp"
)

// families are what AXP's clients may ask about, by AXP's names of its routes.
var families = []string{
	"intents.create", "intents.batch", "intents.get", "intents.list", "intents.events", "intents.stream",
	"intents.resolve", "intents.resume", "intents.bulk_cancel", "agents.stream", "agents.poll", "schemas", "scenarios.validate", "scenarios.apply",
	"webhooks.subscriptions", "webhooks.events", "webhooks.replay",
	"inbox.list", "inbox.thread", "inbox.changes", "inbox.reply", "inbox.delegate", "inbox.decision", "inbox.messages_delete", "approvals.decision",
}

// exampleTypes stand for any intent type, for all are taken. AXP's clients want
// some to be named, and of this form.
var exampleTypes = []string{"intent.ask.v1", "intent.task.v1"}

var exampleForm = regexp.MustCompile(`^intent\.[a-z0-9_]+\.v1$`)

// capabilities serves GET /v1/capabilities.
func (a *API) capabilities(w http.ResponseWriter, _ *http.Request) error {
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).key("capabilities").open('[')
	for _, f := range families {
		d.element(f)
	}
	d.close(']').key("supported_intent_types").open('[')
	for _, t := range exampleTypes {
		d.element(t)
	}
	for _, s := range a.journal.Schemas() {
		if exampleForm.MatchString(s.SemanticType) {
			d.element(s.SemanticType)
		}
	}
	return answer(w, d.close(']').close('}'))
}
