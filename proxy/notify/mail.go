package notify

import (
	"bytes"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
)

// letter is a mail as RFC 5322 writes it: headers of ours, into which texts of senders go
// as encoded words (RFC 2047) only, and a body of plain text, quoted-printable.
func letter(n *News, from *mail.Address, id string, now time.Time) []byte {
	host := from.Address[strings.LastIndexByte(from.Address, '@')+1:]
	var b bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", from.String())
	header("To", n.To)
	header("Subject", headline(n)+"\r\n "+subject(n.Data.Title))
	header("Date", now.Format(time.RFC1123Z))
	header("Message-ID", "<"+id+"@"+host+">") // the same at every attempt: readers show it once
	header("References", "<"+n.Data.IntentID+"@"+host+">")
	header("Auto-Submitted", "auto-generated") // RFC 3834: no vacation answers to it
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	// A buffer takes all that is written.
	_, _ = w.Write([]byte(strings.ReplaceAll(body(n), "\n", "\r\n")))
	_ = w.Close()
	return b.Bytes()
}

// mostSubject is what mail readers show of a subject, and twice that.
const mostSubject = 160

// subject is a title in encoded words where it is not ASCII, each on a line of its own, as
// RFC 2047 has them. One word that looks encoded is encoded again.
func subject(title string) string {
	title = line(title, mostSubject)
	encoded := mime.QEncoding.Encode("utf-8", title)
	if encoded == title && strings.Contains(title, "=?") {
		encoded = "=?utf-8?q?" + strings.NewReplacer("=", "=3D", "?", "=3F", "_", "=5F", " ", "_").Replace(title) + "?="
	}
	return strings.ReplaceAll(encoded, "?= =?", "?=\r\n =?")
}

func body(n *News) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n\n", headline(n), n.Data.Title)
	if n.Data.URL != "" {
		fmt.Fprintf(&b, "To decide, open %s\n\n", n.Data.URL)
	}
	for _, l := range lines(n) {
		// What goes on in a further line is indented, so that it looks like no line of ours.
		fmt.Fprintf(&b, "%s: %s\n", l.name, strings.ReplaceAll(l.said, "\n", "\n    "))
	}
	return b.String()
}
