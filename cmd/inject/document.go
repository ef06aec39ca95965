package inject

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
)

// document is one of a stream.
type document struct {
	text  []byte // as it is there, with what separates it from the next
	body  []byte // of it, what is to be read
	first int    // the line of the stream in which the body begins, from 1
}

// split cuts a stream into documents. Put together again, they are the stream: the body is within the text.
func split(stream []byte) (all []document) {
	if all, ok := splitJSON(stream); ok {
		return all
	}
	line, start, head := 1, 0, 0 // head is where the body begins, behind the marker
	headLine := 1
	flush := func(end int) {
		if end > start {
			all = append(all, document{stream[start:end], stream[head:end], headLine})
		}
	}
	for at := 0; at < len(stream); {
		end := len(stream)
		if i := bytes.IndexByte(stream[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		this := stream[at:end]
		if marker(this, "---") || marker(this, "...") {
			flush(at)
			start, head, headLine = at, end, line+1
			if rest := bytes.TrimSpace(this[3:]); len(rest) > 0 && rest[0] != '#' { // the document begins beside its marker
				head, headLine = at, line
			}
		}
		at, line = end, line+1
	}
	flush(len(stream))
	return all
}

func marker(line []byte, m string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(m))
	return ok && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0)
}

// isJSON reports whether a text looks like JSON: it may still be YAML written in one line.
func isJSON(text []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) }

// splitJSON cuts a stream of JSON values, and says whether it is one.
func splitJSON(stream []byte) (all []document, ok bool) {
	if !isJSON(stream) {
		return nil, false
	}
	for d, start := json.NewDecoder(bytes.NewReader(stream)), 0; ; {
		var one json.RawMessage
		err := d.Decode(&one)
		if err == io.EOF {
			if n := len(all); n > 0 { // what follows the last value is its own
				last := &all[n-1].text
				*last = (*last)[:len(*last)+len(stream)-start]
			}
			return all, len(all) > 0
		}
		if err != nil {
			return nil, false
		}
		end := int(d.InputOffset())
		all = append(all, document{stream[start:end], stream[start:end], 1 + bytes.Count(stream[:start], []byte("\n"))})
		start = end
	}
}
