package policy

import (
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// What single values are written like. Each returns false after a mistake.

const day = 24 * time.Hour

// duration reads a time in whole seconds, which is how RADIUS counts.
func (r *reader) duration(n ast.Node, low, high time.Duration) (time.Duration, bool) {
	expected := "a duration such as 30m, 12h or 7d, " + short(low) + " to " + short(high)
	s, ok := r.text(n, expected)
	if !ok {
		return 0, false
	}
	d, err := parseDuration(s)
	switch {
	case err != nil:
		r.fail(position(n), expected, "%q is no duration", s)
	case d < low || d > high:
		r.fail(position(n), expected, "%s is out of range", s)
	case d%time.Second != 0:
		r.fail(position(n), expected, "%s is not in whole seconds, which is how RADIUS counts", s)
	default:
		return d, true
	}
	return 0, false
}

// parseDuration reads what time.ParseDuration does, with days in front: 7d, 1d12h.
func parseDuration(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil || rest == "" {
		return time.Duration(n) * day, err
	}
	d, err := time.ParseDuration(rest)
	if d < 0 {
		err = strconv.ErrSyntax
	}
	return time.Duration(n)*day + d, err
}

// short is a duration as files spell it: without zeros at the end, and in days where it
// is days.
func short(d time.Duration) string {
	if d > day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// number reads a whole number.
func (r *reader) number(n ast.Node, low, high int) (int, bool) {
	expected := "a number from " + strconv.Itoa(low) + " to " + strconv.Itoa(high)
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		r.wrongType(n, expected)
		return 0, false
	}
	v, err := strconv.Atoi(i.GetToken().Value)
	if err != nil || v < low || v > high {
		r.fail(position(n), expected, "%s is out of range", i.GetToken().Value)
		return 0, false
	}
	return v, true
}

func (r *reader) yesOrNo(n ast.Node) (value, ok bool) {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		r.wrongType(n, "true or false")
		return false, false
	}
	return b.Value, true
}

// scalar reads text or a number, as it was written.
func (r *reader) scalar(n ast.Node, expected string) (string, bool) {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	return r.text(n, expected)
}
