package api

import (
	"net/url"
	"strings"
)

// elsewhere are the families of AXP that this sidecar has not, and never will have: each
// by the first segments of its paths, with what there is instead.
var elsewhere = []struct{ paths, why string }{
	{"principals aliases", "an agent is named by its address"},
	{"routing transports", "which sidecar serves an agent is said by discovery or the peers file"},
	{"mcp sessions", "chats and tools are not delivery"},
	{"users invites media", "people and files are somebody else's to keep"},
	{"organizations workspaces members access-requests quotas usage billing portal auth alpha matrix audit tool-registry dashboard send-policies receive-policies", "tenants, money and logins are not a sidecar's"},
}

// outOfScope says why there is no such path, where it is one of AXP's; "": it is none.
func outOfScope(path string) string {
	path = strings.TrimPrefix(path, "/v1")
	family, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if decoded, err := url.PathUnescape(family); err == nil {
		family = decoded
	}
	for _, e := range elsewhere {
		for name := range strings.FieldsSeq(e.paths) {
			if family == name {
				return "it is out of scope: " + e.why
			}
		}
	}
	return ""
}
