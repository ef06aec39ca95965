package cmdline

import (
	"fmt"
	"strings"

	"github.com/xrash/smetrics"
)

// maxTypos is how many edits away from a word its correction may be; of a short word, half of it.
const maxTypos = 3

// Nearest is the candidate that a typed word was probably meant to be; empty where none is near.
func Nearest(word string, candidates []string) string {
	typed := strings.ToLower(word)
	best, least := "", min(maxTypos, (len(typed)+1)/2)+1
	for _, c := range candidates {
		if len(c) > len(typed)+maxTypos || len(typed) > len(c)+maxTypos {
			continue // nor is it worth comparing
		}
		if d := smetrics.WagnerFischer(typed, c, 1, 1, 1); d < least {
			best, least = c, d
		}
	}
	return best
}

func didYouMean(word string, candidates []string) string {
	if near := Nearest(word, candidates); near != "" {
		return fmt.Sprintf("did you mean %q? ", near)
	}
	return ""
}
