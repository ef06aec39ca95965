package main

import (
	"net/url"
	"strings"
)

const agentScheme = "agent://"

// agentAddress completes what the user typed: with a slash it is an agent URI, without one a bare
// name, which stays what it is.
func agentAddress(typed string) string {
	if strings.Contains(typed, "/") && !strings.Contains(typed, "://") {
		return agentScheme + typed
	}
	return typed
}

// agentPath is an address as the segments of a URL path: the part behind the scheme, each segment
// escaped alone so that its slashes stay slashes. An address of a foreign scheme goes as one
// escaped segment, or the server could not tell where the scheme was.
func agentPath(typed string) string {
	address, isAgent := strings.CutPrefix(agentAddress(typed), agentScheme)
	if !isAgent && strings.Contains(address, "://") {
		return url.PathEscape(address)
	}
	segments := strings.Split(address, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/")
}
