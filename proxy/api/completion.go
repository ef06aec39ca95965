package api

import "pannier/journal"

// writeCompletion says what became of the completion of an intent that has ended:
// it is in home's journal since the batch that ended it. Where home has not ruled
// yet, nothing can be said of it.
func writeCompletion(d *doc, i *journal.Intent, ruled bool) {
	d.open('{')
	switch {
	case i.Envelope == nil || i.Envelope.ReplyTo == "":
		d.boolean("delivered", false).str("reason", "reply_to_not_set")
	case !ruled:
		d.boolean("delivered", false).str("reason", "provisional").str("reply_to", i.Envelope.ReplyTo)
	default:
		c := journal.CompletionOf(i.ID, i.Status())
		d.boolean("delivered", true).str("reply_to", i.Envelope.ReplyTo).str("thread_id", i.ID.String())
		d.str("message_id", journal.CompletionID(i.ID).String())
		d.key("completion").open('{').str("type", c.Type).str("intent_id", c.IntentID).str("status", c.Status).close('}')
	}
	d.close('}')
}
