// Package apitest holds what is said over the app API to its description,
// openapi.yaml. It is for tests alone: those of the API itself, and those that
// talk to a real sidecar.
//
//	test ──▶ http.Client ──▶ [Watch] ──▶ sidecar
//	                            │
//	                            └──▶ [Description.Check]: request, status, headers, body, each frame
//
// What is found out of every exchange:
//
//   - A request that does not match its description is refused. Tests send wrong
//     requests on purpose, so those need not match; what is taken nevertheless is in
//     the list [taken], with its reason.
//
//   - A status is described for its route, and so is every member of a body: answers
//     are described in full, though clients must expect more.
//
//   - A refusal is one problem document, and its status, category and retryable are
//     those of its code in the registry.
//
//   - Each frame of a stream is data of its event's kind.
//
//   - X-Request-Id is on every answer, X-Trace-Id comes back, a 2xx is a JSON object
//     or a stream, and a 429 or 503 says when to come again.
//
//   - What AXP publishes a schema for matches it, too ([NeedAXP], AXP_SPEC).
//
// kin-openapi reads the document and judges parameters and headers. Bodies
// are judged by jsonschema on its own: OpenAPI 3.1's schemas are JSON Schema 2020-12,
// and kin-openapi would compile a schema anew for each value.
package apitest
