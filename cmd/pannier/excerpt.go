package main

import (
	"fmt"
	"strings"

	"pannier/proxy/watch"
	"pannier/proxy/yaml"
)

// excerptMost bounds the characters of a line that is shown.
const excerptMost = 160

// excerpt is the line of a file that a complaint is about, with a mark under its column; empty
// where the file cannot be read any more.
func excerpt(at *yaml.Error) string {
	content, err := watch.ReadBounded(at.File)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimPrefix(string(content), "\ufeff"), "\n")
	if at.Line < 1 || at.Line > len(lines) {
		return ""
	}
	line := []rune(strings.TrimRight(lines[at.Line-1], "\r"))
	if at.Column < 1 || at.Column > len(line)+1 {
		return ""
	}
	// Of a long line, what is around the mark.
	from := max(0, at.Column-excerptMost*3/4)
	if from > 0 {
		line[from] = '…'
	}
	margin := fmt.Sprintf("%5d | ", at.Line)
	shown := strings.ReplaceAll(string(line[from:min(len(line), from+excerptMost)]), "\t", " ")
	return "\n" + margin + printable(shown) + "\n" + strings.Repeat(" ", len(margin)-2) + "| " + strings.Repeat(" ", at.Column-1-from) + "^"
}
