package api

import (
	"strings"
)

// maxAddress is the length of the longest address AXP knows.
const maxAddress = 383

// Address returns the canonical form of an agent's address: "agent://" in
// front where there is a slash, else the bare name; another scheme is kept.
// Two addresses are the same agent if their canonical forms are equal byte for
// byte. Percent escapes belong to URLs and have been decoded before, once.
func Address(s string) (string, error) {
	scheme, path, ok := strings.Cut(s, "://")
	if !ok {
		scheme, path = "agent", s
	}
	if why := addressFault(scheme, path); why != "" {
		return "", refuse(codeInvalidAddress, "%q %s", clip(s, 64), why)
	}
	canonical := path
	switch {
	case scheme != "agent":
		canonical = scheme + "://" + path
	case strings.Contains(path, "/"):
		canonical = "agent://" + path
	}
	if len(canonical) > maxAddress {
		return "", refuse(codeInvalidAddress, "an address has at most %d bytes, not %d", maxAddress, len(canonical))
	}
	return canonical, nil
}

// addressFault says what is wrong with an address, or nothing.
func addressFault(scheme, path string) string {
	if scheme == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+.-") != "" {
		return "has a bad scheme: lower-case letters, digits, '+', '.' and '-' only"
	}
	if path == "" {
		return "names nobody"
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "":
			return "has an empty segment"
		case ".", "..":
			return "has a segment that is only dots"
		}
		for i := range len(segment) {
			if !addressByte(segment[i]) {
				return "is not an address: letters, digits and . _ ~ @ + - between slashes"
			}
		}
	}
	return ""
}

func addressByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._~@+-", c) >= 0
}

// clip cuts what goes into a message.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
