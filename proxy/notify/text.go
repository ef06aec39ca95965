package notify

import (
	"strings"
	"unicode"
)

// text makes what a sender has written harmless and at most n bytes: without control
// characters and, of those that show nothing, without all but the joiners that scripts
// and emoji need. What turns the direction of text is among them.
func text(s string, n int) string {
	return cut(strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\u200c' || r == '\u200d':
			return r
		case unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return ' '
		case unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))), n)
}

// line is text on one line.
func line(s string, n int) string {
	return cut(strings.Join(strings.Fields(text(s, len(s)+1)), " "), n)
}

// cut shortens a text to n bytes, and says so.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const more = "…"
	n -= len(more)
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + more
}
