package proxy

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"layeh.com/radius/rfc2865"

	"postern/internal/radius"
)

// GroupAttribute is where an upstream server puts groups.
//
// Handled in: groupNames, (*Directory).groups.
type GroupAttribute uint8

const (
	GroupsUnknown GroupAttribute = iota
	GroupsNone
	GroupsClass    // RFC 2865 §5.25
	GroupsFilterID // RFC 2865 §5.11
)

var groupNames = [...]string{GroupsUnknown: "unknown", GroupsNone: "none", GroupsClass: "class", GroupsFilterID: "filter-id"}

// String returns it as configurations spell it.
func (g GroupAttribute) String() string {
	if int(g) < len(groupNames) {
		return groupNames[g]
	}
	return groupNames[GroupsUnknown]
}

// groups reads the groups that an Access-Accept tells. Other values stand beside
// them: NPS adds a Class in binary to every Accept, and switches have words of their
// own in Filter-Id. A semicolon at the end is cut off, for policies written for
// Cisco's gateways say "OU=staff;".
func (d *Directory) groups(accept *radius.Packet) []string {
	var typ radius.Type
	switch d.cfg.Groups {
	case GroupsClass:
		typ = rfc2865.Class_Type
	case GroupsFilterID:
		typ = rfc2865.FilterID_Type
	case GroupsNone, GroupsUnknown:
		return nil
	}
	var all []string
	for _, a := range accept.Attributes {
		if a.Type != typ || !utf8.Valid(a.Attribute) {
			continue
		}
		g, ok := strings.CutPrefix(string(a.Attribute), d.cfg.GroupPrefix)
		g = strings.TrimSuffix(g, ";")
		if !ok || g == "" || strings.ContainsFunc(g, func(r rune) bool { return !unicode.IsPrint(r) }) || slices.Contains(all, g) {
			continue
		}
		all = append(all, g)
	}
	return all
}
