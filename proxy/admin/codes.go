package admin

import (
	"net/http"

	"pannier/proxy/api"
)

// codes are those of refusals that only this listener has; all others are the app
// API's, and mean the same here.
var codes = []api.Explanation{
	{
		Code: "not_found", Status: http.StatusNotFound, Category: "validation", Title: "No such page",
		Means:  "The admin listener has nothing under this path, or this version of the sidecar has not.",
		Remedy: "Compare it with what the detail names; a command that is newer than the sidecar may ask for more than it has.",
	},
	{
		Code: "peer_not_found", Status: http.StatusNotFound, Category: "validation", Title: "Unknown peer",
		Means:  "No peer of this journal id or address is known here. Nothing was done.",
		Remedy: "Use one that pannier peers shows.",
	},
	{
		Code: "invalid_journal_id", Status: http.StatusUnprocessableEntity, Category: "validation", Title: "No journal id",
		Means:  "A peer is named by the id of its journal, a UUID. Nothing was done.",
		Remedy: "Use the journal_id that pannier peers -o json shows.",
	},
	{
		Code: "confirmation_required", Status: http.StatusConflict, Category: "validation", Title: "Not confirmed",
		Means:  "What was asked for cannot be taken back, and the request does not name how many it is meant to be, or they have become others. Nothing was done.",
		Remedy: "Look at them again, and say the number that the detail asks for.",
	},
	{
		Code: "grpc_only", Status: http.StatusUnsupportedMediaType, Category: "validation", Title: "A service of gRPC",
		Means:  "The path is that of the client status discovery service, which speaks gRPC.",
		Remedy: "Ask with a tool that speaks it, or GET /v1/admin/xds, which says the same as JSON.",
	},
	{
		Code: "invalid_seconds", Status: http.StatusUnprocessableEntity, Category: "validation", Title: "Seconds out of range",
		Means:  "A profile is of so many whole seconds; the detail says how many at most.",
		Remedy: "Ask for fewer.",
	},
	{
		Code: "profile_under_way", Status: http.StatusConflict, Category: "validation", Retryable: true, Title: "Another profile is being taken",
		Means:  "A process has one CPU profile at a time.",
		Remedy: "Ask again when the other is done.",
	},
	{
		Code: "profile_not_found", Status: http.StatusNotFound, Category: "validation", Title: "Unknown profile",
		Means:  "There is no profile of this name.",
		Remedy: "Use one that the detail names.",
	},
}

// Codes lists them.
func Codes() []api.Explanation { return append([]api.Explanation(nil), codes...) }
