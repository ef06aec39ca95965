package yaml

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/xrash/smetrics"
)

// The readers of values return what is wrong without its place: Placed adds it.

func mismatch(n ast.Node, want string) error {
	if _, empty := n.(*ast.NullNode); empty {
		return fmt.Errorf("got nothing, want %s; or leave the key out", want)
	}
	return fmt.Errorf("got %s, want %s", KindOf(n), want)
}

// String reads a string.
func String(n ast.Node) (string, error) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, nil
	case *ast.SequenceNode, *ast.MappingNode, *ast.MappingValueNode, *ast.NullNode:
		return "", mismatch(n, "a string")
	}
	return "", mismatch(n, "a string: write it in quotes")
}

// Bool reads true or false.
func Bool(n ast.Node) (bool, error) {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		return false, mismatch(n, "true or false, without quotes")
	}
	return b.Value, nil
}

// Int reads an integer. Decimal only: YAML's octal and binary forms are traps in
// a file that people write.
func Int(n ast.Node) (int, error) {
	text := n.GetToken().Value
	if _, ok := n.(*ast.IntegerNode); !ok {
		if _, err := strconv.Atoi(text); errors.Is(err, strconv.ErrRange) { // to the parser that is a string
			return 0, fmt.Errorf("%s is too large", text)
		}
		return 0, mismatch(n, "an integer: digits alone, without quotes or a unit")
	}
	v, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%s is not an integer in decimal", text)
	}
	return v, nil
}

// Number reads an integer or a decimal fraction.
func Number(n ast.Node) (float64, error) {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
	default:
		return 0, mismatch(n, "a number")
	}
	v, err := strconv.ParseFloat(n.GetToken().Value, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number in decimal", n.GetToken().Value)
	}
	return v, nil
}

// Duration reads a time with its unit.
func Duration(n ast.Node) (time.Duration, error) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return 0, mismatch(n, `a duration such as "500ms", "30s" or "72h"`)
	}
	d, err := time.ParseDuration(s.Value)
	if err != nil {
		return 0, fmt.Errorf(`%q is not a duration such as "500ms", "30s" or "72h"; the units are ms, s, m and h`, s.Value)
	}
	return d, nil
}

// Placed adds the place of the entry's value to a complaint that names none of
// its own.
func Placed(err error, file string, e Entry) error {
	var has *Error
	if err == nil || errors.As(err, &has) {
		return err
	}
	at := e.Value.GetToken()
	if _, empty := e.Value.(*ast.NullNode); empty {
		at = e.At // the value is not there to be pointed at
	}
	return ErrorAt(file, at, e.Key, err.Error())
}

// DidYouMean names the known key that was probably meant, to follow a complaint;
// empty where none is near.
func DidYouMean(key string, known []string) string {
	typed := strings.ReplaceAll(strings.ToLower(key), "-", "_")
	best, distance := "", len(typed)/3+1
	for _, k := range known {
		if d := smetrics.WagnerFischer(typed, k, 1, 1, 1); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}
