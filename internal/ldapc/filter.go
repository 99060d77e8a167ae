package ldapc

import (
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Equal is the filter (attribute=value) (RFC 4515). Whatever is in the value, it
// stays a value.
func Equal(attribute, value string) string {
	return "(" + attribute + "=" + ldap.EscapeFilter(value) + ")"
}

// And joins filters; empty ones are left out.
func And(filters ...string) string { return join('&', filters) }

// Or joins filters; empty ones are left out.
func Or(filters ...string) string { return join('|', filters) }

func join(op byte, filters []string) string {
	var b strings.Builder
	n := 0
	only := ""
	for _, f := range filters {
		if f != "" {
			b.WriteString(f)
			only = f
			n++
		}
	}
	if n == 1 {
		return only
	}
	return "(" + string(op) + b.String() + ")"
}
