package api

import "net/http"

// code is the stable name of an error, ^[a-z0-9_:.\-]{3,128}$.
type code string

const (
	codeInvalidJSON         code = "invalid_json"
	codeInvalidRequest      code = "invalid_request"
	codeAuthFailed          code = "auth_failed"
	codeHostNotAllowed      code = "host_not_allowed"
	codeCrossSite           code = "cross_site_request"
	codePolicyDenied        code = "policy_denied"
	codeIntentNotFound      code = "intent_not_found"
	codeAgentNotFound       code = "agent_not_found"
	codeRouteNotFound       code = "route_not_found"
	codeMethodNotAllowed    code = "method_not_allowed"
	codeIdempotencyConflict code = "idempotency_conflict"
	codeInvalidTransition   code = "invalid_transition"
	codeIntentEnded         code = "intent_ended"
	codeLeaseLost           code = "lease_lost"
	codeWrongBinding        code = "wrong_binding"
	codePayloadTooLarge     code = "payload_too_large"
	codeUnsupportedMedia    code = "unsupported_media_type"
	codeSchemaInvalid       code = "schema_invalid"
	codeInvalidAddress      code = "invalid_agent_address"
	codeNotAvailable        code = "not_available"
	codeRateLimited         code = "rate_limited"
	codeTooManyAgents       code = "too_many_agents"
	codeInternal            code = "internal_error"
	codeSidecarFault        code = "sidecar_fault"
	codeInterrupted         code = "interrupted"
	codeDraining            code = "draining"
	codeJournalFailed       code = "journal_failed"
	codeJournalFull         code = "journal_full"
	codeHomeUnreachable     code = "home_unreachable"
)

// entry is what is fixed about a code. retryAfter is in seconds, 0: no header.
type entry struct {
	code       code
	status     int
	category   string // of AXP's closed set
	retryable  bool
	retryAfter int
	title      string
}

// registry has every code there is: the table behind problem documents.
var registry = []entry{
	{codeInvalidJSON, http.StatusBadRequest, "validation", false, 0, "The body is not the JSON it must be"},
	{codeInvalidRequest, http.StatusBadRequest, "validation", false, 0, "The request contradicts itself"},
	{codeAuthFailed, http.StatusUnauthorized, "auth", false, 0, "The key is missing or wrong"},
	{codeHostNotAllowed, http.StatusForbidden, "policy", false, 0, "Foreign Host header"},
	{codeCrossSite, http.StatusForbidden, "policy", false, 0, "Cross-site request"},
	{codePolicyDenied, http.StatusForbidden, "policy", false, 0, "Not allowed"},
	{codeIntentNotFound, http.StatusNotFound, "validation", false, 0, "Unknown intent"},
	{codeAgentNotFound, http.StatusNotFound, "transport", false, 0, "Unknown agent"},
	{codeRouteNotFound, http.StatusNotFound, "validation", false, 0, "No such route"},
	{codeMethodNotAllowed, http.StatusMethodNotAllowed, "validation", false, 0, "Method not allowed"},
	{codeIdempotencyConflict, http.StatusConflict, "validation", false, 0, "Idempotency key reused"},
	{codeInvalidTransition, http.StatusConflict, "validation", false, 0, "Illegal transition"},
	{codeIntentEnded, http.StatusConflict, "validation", false, 0, "The intent has ended"},
	{codeLeaseLost, http.StatusConflict, "validation", false, 0, "The lease was lost"},
	{codeWrongBinding, http.StatusConflict, "validation", false, 0, "The agent receives in another way"},
	{codePayloadTooLarge, http.StatusRequestEntityTooLarge, "validation", false, 0, "Too large"},
	{codeUnsupportedMedia, http.StatusUnsupportedMediaType, "validation", false, 0, "Unsupported media type"},
	{codeSchemaInvalid, http.StatusUnprocessableEntity, "validation", false, 0, "Missing or wrong fields"},
	{codeInvalidAddress, http.StatusUnprocessableEntity, "validation", false, 0, "Invalid agent address"},
	{codeNotAvailable, http.StatusUnprocessableEntity, "validation", false, 0, "Not available yet"},
	{codeRateLimited, http.StatusTooManyRequests, "policy", true, 1, "Too many requests"},
	{codeTooManyAgents, http.StatusTooManyRequests, "policy", true, 5, "Too many destinations"},
	{codeInternal, http.StatusInternalServerError, "internal", true, 0, "Internal error"},
	{codeSidecarFault, http.StatusInternalServerError, "internal", false, 0, "Sidecar fault"},
	{codeInterrupted, http.StatusServiceUnavailable, "timeout", true, 1, "Interrupted"},
	{codeDraining, http.StatusServiceUnavailable, "internal", true, 1, "Draining"},
	{codeJournalFailed, http.StatusServiceUnavailable, "internal", true, 5, "Journal failed"},
	{codeJournalFull, http.StatusServiceUnavailable, "internal", true, 5, "Journal full"},
	{codeHomeUnreachable, http.StatusServiceUnavailable, "transport", true, 2, "Home out of reach"},
}

var registryIndex = func() map[code]entry {
	index := make(map[code]entry, len(registry))
	for _, e := range registry {
		index[e.code] = e
	}
	return index
}()

func (c code) entry() entry { return registryIndex[c] }
