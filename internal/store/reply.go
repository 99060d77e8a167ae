package store

import (
	"fmt"
	"strconv"
)

// reply reads the results of one operation of script.lua. Its first error
// sticks, so that decode methods check once.
type reply struct {
	v   []any
	err error
}

func (r *reply) fail(i int) {
	if r.err == nil {
		r.err = fmt.Errorf("parse script reply: value %d of %d", i, len(r.v))
	}
}

func (r *reply) int(i int) int64 {
	if i < len(r.v) {
		switch v := r.v[i].(type) {
		case int64:
			return v
		case string:
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				return n
			}
		}
	}
	r.fail(i)
	return 0
}

func (r *reply) str(i int) string {
	if i < len(r.v) {
		if s, ok := r.v[i].(string); ok {
			return s
		}
	}
	r.fail(i)
	return ""
}
