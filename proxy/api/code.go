package api

import "net/http"

// code is the stable name of an error, ^[a-z0-9_:.\-]{3,128}$.
type code string

const (
	codeInvalidJSON          code = "invalid_json"
	codeInvalidRequest       code = "invalid_request"
	codeAuthFailed           code = "auth_failed"
	codeHostNotAllowed       code = "host_not_allowed"
	codeCrossSite            code = "cross_site_request"
	codePolicyDenied         code = "policy_denied"
	codeIntentNotFound       code = "intent_not_found"
	codeAgentNotFound        code = "agent_not_found"
	codeAccountNotFound      code = "service_account_not_found"
	codeSchemaNotFound       code = "schema_not_found"
	codeSubscriptionNotFound code = "subscription_not_found"
	codeEventNotFound        code = "event_not_found"
	codeThreadNotFound       code = "thread_not_found"
	codeScheduleNotFound     code = "schedule_not_found"
	codeRouteNotFound        code = "route_not_found"
	codeMethodNotAllowed     code = "method_not_allowed"
	codeIdempotencyConflict  code = "idempotency_conflict"
	codeInvalidTransition    code = "invalid_transition"
	codeIntentEnded          code = "intent_ended"
	codeDecidedBefore        code = "decided_before"
	codeThreadFull           code = "thread_full"
	codeLeaseLost            code = "lease_lost"
	codeWrongBinding         code = "wrong_binding"
	codeNotDeadLetter        code = "not_dead_letter"
	codeContentLost          code = "content_lost"
	codeAlreadyRedriven      code = "already_redriven"
	codeNotHome              code = "not_home"
	codePayloadTooLarge      code = "payload_too_large"
	codeUnsupportedMedia     code = "unsupported_media_type"
	codeSchemaInvalid        code = "schema_invalid"
	codeInvalidAddress       code = "invalid_agent_address"
	codeNotAvailable         code = "not_available"
	codeRateLimited          code = "rate_limited"
	codeTooManyAgents        code = "too_many_agents"
	codeTooManyAccounts      code = "too_many_service_accounts"
	codeInternal             code = "internal_error"
	codeSidecarFault         code = "sidecar_fault"
	codeInterrupted          code = "interrupted"
	codeDraining             code = "draining"
	codeJournalFailed        code = "journal_failed"
	codeJournalFull          code = "journal_full"
	codeHomeUnreachable      code = "home_unreachable"
)

// entry is what is fixed about a code. retryAfter is in seconds, 0: no header.
type entry struct {
	code       code
	status     int
	category   string // of AXP's closed set
	retryable  bool
	retryAfter int
	title      string
	means      string // what has happened, and whether anything was done
	remedy     string // what to do about it
}

// registry has every code there is: the table behind problem documents, the
// list in openapi.yaml and `pannier explain`.
var registry = []entry{
	{codeInvalidJSON, http.StatusBadRequest, "validation", false, 0, "The body is not the JSON it must be",
		"The body could not be read as one JSON value: it is empty, broken off, not UTF-8, nested deeper than 64 levels, or names a member twice.",
		"Mend what the detail names, by byte or by pointer, and send it again."},
	{codeInvalidRequest, http.StatusBadRequest, "validation", false, 0, "The request contradicts itself",
		"Two parts of the request cannot both be meant, such as an option that differs between body and header.",
		"Keep one of the two that the detail names. After \"the body broke off\", send the whole of it again."},
	{codeAuthFailed, http.StatusUnauthorized, "auth", false, 0, "The key is missing or wrong",
		"The sidecar asks for an API key and was given none that it knows.",
		"Send the key as x-api-key or as Authorization: Bearer; for this command it is --key or PANNIER_API_KEY."},
	{codeHostNotAllowed, http.StatusForbidden, "policy", false, 0, "Foreign Host header",
		"The Host header names no host of this sidecar, as a page on the web would whose name was pointed at localhost.",
		"Call it as localhost, or as an address of the loopback."},
	{codeCrossSite, http.StatusForbidden, "policy", false, 0, "Cross-site request",
		"A browser sent this for a page of another origin.",
		"Call the sidecar from a program on its host, not from a page."},
	{codePolicyDenied, http.StatusForbidden, "policy", false, 0, "Not allowed",
		"The caller is known and may not do this.",
		"Use a key that may, or ask whoever gives the keys out."},
	{codeIntentNotFound, http.StatusNotFound, "validation", false, 0, "Unknown intent",
		"This sidecar neither accepted an intent of this id nor holds one, or it has forgotten it.",
		"Ask the sidecar that accepted it, and compare the id with the intent_id of its answer."},
	{codeAgentNotFound, http.StatusNotFound, "transport", false, 0, "Unknown agent",
		"This sidecar does not serve the agent.",
		"Ask the sidecar beside that agent's app, or start this one with --agent for it."},
	{codeAccountNotFound, http.StatusNotFound, "validation", false, 0, "Unknown service account or key",
		"This sidecar has no such service account, or it has no such key, or it is not the caller's.",
		"Compare the id with those of GET /v1/service-accounts at this sidecar."},
	{codeSchemaNotFound, http.StatusNotFound, "validation", false, 0, "Unknown schema",
		"No schema of this type was registered at this sidecar; each sidecar has its own.",
		"Compare the type with the semantic_type it was registered under, or register it with POST /v1/schemas."},
	{codeSubscriptionNotFound, http.StatusNotFound, "validation", false, 0, "Unknown subscription",
		"This sidecar has no subscription of this id that the owner named may see.",
		"List them with GET /v1/webhooks/subscriptions; each sidecar has its own."},
	{codeEventNotFound, http.StatusNotFound, "validation", false, 0, "Unknown event",
		"No event of this id was published at this sidecar.",
		"Use the event_id that POST /v1/webhooks/events answered, at the sidecar that answered it."},
	{codeThreadNotFound, http.StatusNotFound, "validation", false, 0, "Unknown thread",
		"No thread of this id is in the inbox that was asked for, at this sidecar.",
		"List the inbox with GET /v1/inbox and its owner_agent, at the sidecar that accepted the intent or holds it."},
	{codeScheduleNotFound, http.StatusNotFound, "validation", false, 0, "Unknown schedule",
		"This sidecar has no schedule of this id whose sender the key speaks for.",
		"List them with GET /v1/schedules; each sidecar has its own."},
	{codeRouteNotFound, http.StatusNotFound, "validation", false, 0, "No such route",
		"The path is no route of this version, or is not written in its plain form.",
		"Compare it with GET /openapi.json; write it without //, . and .., and without a slash at its end."},
	{codeMethodNotAllowed, http.StatusMethodNotAllowed, "validation", false, 0, "Method not allowed",
		"The path exists, and takes another method.",
		"Use one of those in the Allow header."},
	{codeIdempotencyConflict, http.StatusConflict, "validation", false, 0, "Idempotency key reused",
		"The Idempotency-Key was used for another request within the last 24 hours. Nothing was done.",
		"Use a new key for a new request; to repeat one, send the same body and options."},
	{codeInvalidTransition, http.StatusConflict, "validation", false, 0, "Illegal transition",
		"The status of the intent does not allow this.",
		"Look at the intent with pannier get, and at what it waits for with pannier why."},
	{codeIntentEnded, http.StatusConflict, "validation", false, 0, "The intent has ended",
		"The intent ended before this came; its end, in details.status, stays as it is. The app may have done the work for nothing.",
		"Take it as settled and go on. Who ended it is in its events: pannier watch."},
	{codeDecidedBefore, http.StatusConflict, "validation", false, 0, "Decided before",
		"Somebody has decided this otherwise; the first decision stands. details.decided_by and details.decided_at say who, and when.",
		"Take it as decided. To change it, ask for it anew with another intent."},
	{codeThreadFull, http.StatusConflict, "validation", false, 0, "The thread is full",
		"The timeline of the thread, or the list of those who have it, is as long as it may be. Nothing was added.",
		"Delete messages of it with POST /v1/inbox/{id}/messages/delete. Decisions are still taken."},
	{codeLeaseLost, http.StatusConflict, "validation", false, 0, "The lease was lost",
		"The lease named is not the one in force: it ran out, and the intent has been handed over again, or the intent was settled otherwise.",
		"Do not repeat it. Drop this hand-over, or if the work takes longer than the lease, extend it in time."},
	{codeWrongBinding, http.StatusConflict, "validation", false, 0, "The agent receives in another way",
		"The agent receives by http: its intents are sent to its app, and cannot be asked for.",
		"Do not poll or stream for it, or start the sidecar with another binding for the agent."},
	{codeNotDeadLetter, http.StatusConflict, "validation", false, 0, "No dead letter",
		"The intent is open, or ended for a reason that is none of delivery: there is nothing to redrive. Nothing was done.",
		"Look at it with pannier get. One that waits for an operator goes on by a resume; one that somebody ended is sent again as a new intent."},
	{codeContentLost, http.StatusConflict, "validation", false, 0, "What it was is gone",
		"The records of the intent were damaged on the disk, or have left the history: how it ended is known, what it was is not. Nothing was done.",
		"Send it anew from where it came from; purge the dead letter when that is done."},
	{codeAlreadyRedriven, http.StatusConflict, "validation", false, 0, "Redriven before",
		"The dead letter has its one successor already, in details.redriven_as. Nothing was done.",
		"Look at the successor. If it is a dead letter too, redrive that one."},
	{codeNotHome, http.StatusConflict, "validation", false, 0, "For the intent's home to do",
		"This sidecar only has a copy of the intent, and what was asked for is for the sidecar that accepted it to do. Nothing was done.",
		"Ask the sidecar that accepted it."},
	{codePayloadTooLarge, http.StatusRequestEntityTooLarge, "validation", false, 0, "Too large",
		"The body with all that is in it, an item of it, or the intent as it would be stored, is larger than the limit.",
		"Send less, or a reference to where the data is; the limit is in details.limit_bytes, and --max-body sets that of a send."},
	{codeUnsupportedMedia, http.StatusUnsupportedMediaType, "validation", false, 0, "Unsupported media type",
		"The body is not announced as JSON in UTF-8, or is compressed.",
		"Send the header Content-Type: application/json and the body as it is."},
	{codeSchemaInvalid, http.StatusUnprocessableEntity, "validation", false, 0, "Missing or wrong fields",
		"Fields or parameters are missing, wrong or not known; the list errors names each of them.",
		"Mend what is named there and send it again."},
	{codeInvalidAddress, http.StatusUnprocessableEntity, "validation", false, 0, "Invalid agent address",
		"An address is not written as addresses are: agent://acme/prod/billing, or a bare name.",
		"Use letters, digits and . _ ~ @ + - between single slashes, 383 bytes at most."},
	{codeNotAvailable, http.StatusUnprocessableEntity, "validation", false, 0, "Not available yet",
		"The request asks for something that this version cannot do, and that would change what happens.",
		"Leave the field out, or use a version that has it."},
	{codeRateLimited, http.StatusTooManyRequests, "policy", true, 1, "Too many requests",
		"Too many requests of this kind are under way. Nothing was done.",
		"Wait as many seconds as Retry-After says, and keep fewer open at once."},
	{codeTooManyAgents, http.StatusTooManyRequests, "policy", true, 5, "Too many destinations",
		"Intents wait for 10,000 agents that no sidecar is known to serve, and this one is for another. Nothing was stored.",
		"See whether addresses are made up or misspelt; those that are known are still accepted."},
	{codeTooManyAccounts, http.StatusConflict, "policy", false, 0, "Too many service accounts or keys",
		"There are 1,000 service accounts here, or the account has 16 keys in force. Nothing was made.",
		"Revoke the keys and delete the accounts that nobody uses."},
	{codeInternal, http.StatusInternalServerError, "internal", true, 0, "Internal error",
		"The sidecar made a mistake. Whether anything was done is not known.",
		"Repeat it with the same Idempotency-Key; the cause is in the sidecar's log under the X-Request-Id."},
	{codeSidecarFault, http.StatusInternalServerError, "internal", false, 0, "Sidecar fault",
		"The sidecar failed on this one request, which has changed nothing; the others go on.",
		"Keep the journal, and report it with the log under the X-Request-Id."},
	{codeInterrupted, http.StatusServiceUnavailable, "timeout", true, 1, "Interrupted",
		"The request ended before its outcome was known here.",
		"Repeat it with the same Idempotency-Key."},
	{codeDraining, http.StatusServiceUnavailable, "internal", true, 1, "Draining",
		"The sidecar is stopping and takes no new intents. Nothing was stored.",
		"Repeat it after Retry-After: the next sidecar, or this one after its restart, takes it."},
	{codeJournalFailed, http.StatusServiceUnavailable, "internal", true, 5, "Journal failed",
		"The disk refused a write, and the sidecar stops rather than guess. Whether this was stored is not known.",
		"Look at the disk and at the log; when it runs again, repeat it with the same Idempotency-Key."},
	{codeJournalFull, http.StatusServiceUnavailable, "internal", true, 5, "Journal full",
		"The disk is nearly full: new intents are refused, what is under way is finished. Nothing was stored.",
		"Make room on the volume of --journal, then repeat it."},
	{codeHomeUnreachable, http.StatusServiceUnavailable, "transport", true, 2, "Home out of reach",
		"This sidecar only holds the intent; the one that accepted it has the events and cannot be reached just now.",
		"Ask the sidecar that accepted it, or come again after Retry-After."},
}

var registryIndex = func() map[code]entry {
	index := make(map[code]entry, len(registry))
	for _, e := range registry {
		index[e.code] = e
	}
	return index
}()

func (c code) entry() entry { return registryIndex[c] }
