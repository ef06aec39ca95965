package pages

import (
	"net/url"
	"strings"
)

// A page that does something leads to another, whose address has the sentence that says
// what was done. It is signed: a link from elsewhere can have a page of ours say nothing.
const (
	saidField   = "said"
	saidByField = "by"
)

// say is the address of a page that says a text to a visitor.
func (f *forms) say(session, to, text string) string {
	q := url.Values{saidField: {text}, saidByField: {f.token(session + "\x00" + text)}}
	if strings.Contains(to, "?") {
		return to + "&" + q.Encode()
	}
	return to + "?" + q.Encode()
}

// said is the text that say gave a page; empty where it has none.
func (f *forms) said(session string, q url.Values) string {
	text := q.Get(saidField)
	if text == "" || !f.same(q.Get(saidByField), session+"\x00"+text) {
		return ""
	}
	return plain(text)
}
