package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Format writes a file of a policy in the one way in which they are written:
//
//   - two blanks for each level, also for lists below a key, and one blank after a colon,
//     a comma and a dash;
//   - the keys of the file, of rules, permits and tests in the order of their
//     descriptions; lists, pools, filters and conditions stay where they are;
//   - what is in brackets stays in brackets if it fits into 120 columns and no comment is
//     inside, and is written on lines of its own if not; nothing is put into brackets;
//   - at most one empty line in a row, none below a key; comments at the ends of
//     neighbouring lines begin in the same column.
//
// Comments stay with what they are beside or above. Texts stay as they are quoted. A
// file may be formatted that has mistakes, if it is YAML of the kind policies are
// written in; the error is of type Errors.
func Format(name string, src []byte) ([]byte, error) {
	text := []byte(newlines.Replace(string(src)))
	r := newReader(options{}, newSource(File{name, text}))
	body := r.parse(text)
	if len(r.errs) > 0 {
		return nil, r.sorted()
	}
	f := &formatter{reader: r}
	if body == nil { // nothing, or comments alone
		return f.tidy()
	}
	if len(pairsOf(body)) == 0 {
		r.wrongType(body, "a policy, or a file that one includes")
		return nil, r.errs
	}
	root := f.collection(body, false)
	if len(r.errs) > 0 {
		return nil, r.sorted()
	}
	f.readComments(text, root)
	f.order(root)
	out := f.print(root)

	// What follows cannot happen as far as we know: better no tidy file than another one.
	check := newReader(options{}, newSource(File{name, out}))
	again := check.parse(out)
	if len(check.errs) > 0 || !sameNode(body, again) || strings.Count(string(out), "#") < strings.Count(string(text), "#") {
		r.fail(nil, "", "this file cannot be formatted without changing what it says")
		return nil, r.errs
	}
	return out, nil
}

// tidy is for a file that has nothing but comments.
func (f *formatter) tidy() ([]byte, error) {
	var b strings.Builder
	gap := false
	for i, line := range f.lines {
		line = strings.Trim(line, " \t")
		switch {
		case line == "" || line == "---":
			gap = b.Len() > 0
			continue
		case line[0] != '#':
			f.fail(&token.Position{Line: i + 1, Column: 1}, "a policy, or a file that one includes", "this is not possible here")
			return nil, f.errs
		case gap:
			b.WriteByte('\n')
		}
		gap = false
		b.WriteString(line + "\n")
	}
	return []byte(b.String()), nil
}

// sameNode says whether two files say the same: the order of keys does not count, nor
// how texts are quoted.
func sameNode(a, b ast.Node) bool {
	if pa, pb := pairsOf(a), pairsOf(b); len(pa) > 0 || len(pb) > 0 {
		byKey := func(x, y *ast.MappingValueNode) int {
			return cmp.Compare(x.Key.GetToken().Value, y.Key.GetToken().Value)
		}
		pa, pb = slices.Clone(pa), slices.Clone(pb)
		slices.SortStableFunc(pa, byKey)
		slices.SortStableFunc(pb, byKey)
		return slices.EqualFunc(pa, pb, func(x, y *ast.MappingValueNode) bool {
			return x.Key.Type() == y.Key.Type() && byKey(x, y) == 0 && sameNode(x.Value, y.Value)
		})
	}
	if sa, ok := a.(*ast.SequenceNode); ok {
		sb, ok := b.(*ast.SequenceNode)
		return ok && slices.EqualFunc(sa.Values, sb.Values, sameNode)
	}
	if ta, ok := textOf(a); ok {
		tb, ok := textOf(b)
		return ok && ta == tb
	}
	return a != nil && b != nil && a.Type() == b.Type() && a.GetToken().Value == b.GetToken().Value
}

func textOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

// fileOrder is the order of the sections. Keys that are in no order come after the others,
// as they stand.
var fileOrder = []string{"version", "include", "lists", "pools", "filters", "rules", "tests"}

// order puts the keys of a file into their order.
func (f *formatter) order(root *element) {
	root.sort(fileOrder)
	for _, rule := range root.below("rules") {
		rule.sort(ruleKeys)
		for _, then := range rule.under("then") {
			for _, permit := range then.under("permit") {
				permit.sort(obligationKeys())
			}
		}
	}
	for _, test := range root.below("tests") {
		f.orderTest(test)
	}
}

func (f *formatter) orderTest(test *element) {
	test.sort([]string{"name"})
	test.last("expect")
	for _, expect := range test.under("expect") {
		expect.sort(append([]string{"verdict", "rule", "shadow"}, obligationKeys()...))
	}
	test.last("table")
	for _, row := range test.below("table") {
		f.orderTest(row)
	}
}

// formatter makes elements of a file's nodes.
type formatter struct{ *reader }

// element is a value: a text, or a collection of items.
type element struct {
	text  string   // of a scalar, or what begins a block of text
	block []string // lines of that, without the blanks all have in front
	short string   // the same inside of brackets, "": text

	items   []*item
	mapping bool
	flow    bool // in brackets, from start to end
	start   spot
	end     spot
}

// item is a key with its value, or one of a list.
type item struct {
	key   string // as it is written; "" in a list
	name  string // what that means
	value *element
	at    spot

	above []remark // on lines of their own
	tail  []remark // at the end of its line
	below []remark // on lines of their own, after the last thing that is part of it
	gap   bool     // an empty line in front, behind what is above
}

// remark is a comment.
type remark struct {
	text string // from the # on
	gap  bool   // an empty line in front
}

// spot is a place in the file.
type spot struct{ line, column int }

func (s spot) before(o spot) bool {
	return s.line < o.line || s.line == o.line && s.column < o.column
}

// collection makes the element of a mapping or a list, which may be inside of brackets.
func (f *formatter) collection(n ast.Node, inside bool) *element {
	e := &element{}
	switch n := n.(type) {
	case *ast.SequenceNode:
		e.flow, e.start = n.IsFlowStyle, spotAt(n.Start)
		if n.End != nil {
			e.end = spotAt(n.End)
		}
		for i, v := range n.Values {
			it := &item{at: spotOf(v)}
			if !e.flow && i < len(n.Entries) {
				it.at = spotAt(n.Entries[i].Start)
			}
			it.value = f.element(v, inside || e.flow)
			e.items = append(e.items, it)
		}
	case *ast.MappingNode:
		e.mapping, e.flow = true, n.IsFlowStyle
		if n.Start != nil {
			e.start = spotAt(n.Start)
		}
		if n.End != nil {
			e.end = spotAt(n.End)
		}
	case *ast.MappingValueNode:
		e.mapping = true
	}
	pairs := pairsOf(n)
	if len(pairs) == 1 && inside && addressSplit(pairs[0]) {
		f.fail(position(n), "quotes around it", "an IPv6 address inside braces needs quotes")
	}
	for _, p := range pairs {
		it := &item{name: p.Key.GetToken().Value, at: spotOf(p)}
		key, ok := p.Key.(ast.ScalarNode)
		if !ok || p.Key.Type() == ast.MergeKeyType {
			f.fail(position(p), "a plain key", "this cannot be a key")
			continue
		}
		it.key = f.element(key, true).text
		it.value = f.element(p.Value, inside || e.flow)
		e.items = append(e.items, it)
	}
	return e
}

func spotAt(t *token.Token) spot { return spot{t.Position.Line, t.Position.Column} }

func spotOf(n ast.Node) spot {
	if p := position(n); p != nil {
		return spot{p.Line, p.Column}
	}
	return spot{}
}

// element makes the element of any value.
func (f *formatter) element(n ast.Node, inside bool) *element {
	switch n := n.(type) {
	case *ast.SequenceNode, *ast.MappingNode, *ast.MappingValueNode:
		return f.collection(n, inside)
	case *ast.LiteralNode:
		return f.literal(n)
	case *ast.StringNode:
		origin := f.written(n)
		if strings.Contains(origin, "\n") {
			return folded(origin, n.Value)
		}
		control := func(c rune) bool { return c < ' ' || c == 0x7f }
		if inside && origin == strings.TrimSpace(n.Value) && (strings.Contains(origin, ": ") || strings.HasSuffix(origin, ":") || strings.ContainsFunc(origin, control)) {
			// The parser takes colons in brackets that it does not take elsewhere.
			return &element{text: quote(n.Value), short: origin}
		}
		return &element{text: origin}
	case *ast.NullNode:
		// The parser makes one up where there is none.
		at, text := n.GetToken(), strings.TrimSpace(n.GetToken().Value)
		if line := []rune(f.lines[at.Position.Line-1]); strings.HasPrefix(string(line[min(max(at.Position.Column-1, 0), len(line)):]), text) {
			return &element{text: text}
		}
		return &element{}
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return &element{text: strings.TrimSpace(n.GetToken().Origin)}
	}
	f.wrongType(n, "")
	return &element{}
}

// written is a text as the file has it, with its quotes.
func (f *formatter) written(n *ast.StringNode) string {
	t := n.GetToken()
	if t.Type != token.SingleQuoteType && t.Type != token.DoubleQuoteType {
		return strings.TrimSpace(t.Origin)
	}
	// The token has no escapes any more.
	var text []rune
	for i, line := range f.lines[t.Position.Line-1:] {
		from := []rune(line)
		if i == 0 {
			from = from[min(max(t.Position.Column-1, 0), len(from)):]
		} else {
			text = append(text, '\n')
		}
		for j := 0; j < len(from); j++ {
			text = append(text, from[j])
			quote, more := text[0], j+1 < len(from)
			switch {
			case len(text) == 1:
			case quote == '"' && from[j] == '\\' && more, quote == '\'' && from[j] == quote && more && from[j+1] == quote:
				j++
				text = append(text, from[j])
			case from[j] == quote:
				return string(text)
			}
		}
	}
	return quote(n.Value)
}

// literal keeps the lines of a block of text. One whose lines cannot be moved becomes a
// quoted text.
func (f *formatter) literal(n *ast.LiteralNode) *element {
	head := strings.TrimSpace(n.Start.Value)
	from := n.Start.Position.Line
	indent := -1
	var lines []string
	for _, line := range f.lines[min(from, len(f.lines)):] {
		blank := len(line) - len(strings.TrimLeft(line, " "))
		if strings.TrimSpace(line) == "" {
			lines = append(lines, line[min(len(line), max(indent, 0)):])
			continue
		}
		if indent < 0 {
			indent = blank
		}
		if blank < indent {
			break
		}
		lines = append(lines, line[indent:])
	}
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 || strings.TrimSpace(lines[0]) == "" || strings.ContainsAny(head, "+0123456789") || strings.HasPrefix(lines[0], "\t") {
		return &element{text: quote(n.Value.Value)}
	}
	return &element{text: head, block: lines}
}

// folded is a text that goes over several lines without saying that it does.
func folded(origin, value string) *element {
	lines := strings.Split(origin, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return &element{text: lines[0], block: lines[1:], short: quote(value)}
}

// quote writes a text in double quotes, for which YAML has the escapes of JSON and some
// more (YAML 1.2 §5.7).
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c == 0x7f || c == 0x85 || c == 0x2028 || c == 0x2029 || c == 0xfeff:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// sort puts the items with these names first, in this order.
func (e *element) sort(names []string) {
	if !e.mapping {
		return
	}
	rank := func(it *item) int {
		if i := slices.Index(names, it.name); i >= 0 {
			return i
		}
		return len(names)
	}
	slices.SortStableFunc(e.items, func(a, b *item) int { return rank(a) - rank(b) })
}

// last puts the items of that name behind the others.
func (e *element) last(name string) {
	slices.SortStableFunc(e.items, func(a, b *item) int {
		return map[bool]int{true: 1}[a.name == name] - map[bool]int{true: 1}[b.name == name]
	})
}

// under are the values of a key: none, or one unless it is there twice.
func (e *element) under(name string) (all []*element) {
	for _, it := range e.items {
		if e.mapping && it.name == name {
			all = append(all, it.value)
		}
	}
	return all
}

// below are the elements of the list that a key has.
func (e *element) below(name string) (all []*element) {
	for _, list := range e.under(name) {
		for _, it := range list.items {
			if !list.mapping {
				all = append(all, it.value)
			}
		}
	}
	return all
}
