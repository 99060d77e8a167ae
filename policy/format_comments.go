package policy

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// The parser keeps some comments and loses others, so we take them from its lexer, which
// knows them all, and look ourselves for what each belongs to: one at the end of a line
// to what began last on that line, one on a line of its own to what comes next, or, when
// it is indented deeper than that, to what came before.

// slot is an item with the collections and the item it is in.
type slot struct {
	*item
	in     []*element
	parent *slot
}

// slots lists the items of a collection and of all in it.
func (e *element) slots(parent *slot) (all []*slot) {
	var in []*element
	if parent != nil {
		in = parent.in
	}
	in = append(in[:len(in):len(in)], e)
	for _, it := range e.items {
		s := &slot{it, in, parent}
		all = append(append(all, s), it.value.slots(s)...)
	}
	return all
}

// readComments gives the items of a file their comments, and notes the empty lines.
func (f *formatter) readComments(text []byte, root *element) {
	slots := root.slots(nil)
	slices.SortStableFunc(slots, func(a, b *slot) int {
		if a.at.before(b.at) {
			return -1
		}
		return map[bool]int{true: 1}[b.at.before(a.at)]
	})
	line := 0 // of what was not a comment
	for _, t := range lexer.Tokenize(string(text)) {
		if t.Type != token.CommentType {
			line = t.Position.Line
			if last := strings.Count(strings.TrimRight(t.Origin, " \n"), "\n"); last > 0 && t.Position.Column > 0 {
				line += strings.Count(strings.TrimSpace(t.Origin), "\n")
			}
			continue
		}
		at := spot{t.Position.Line, t.Position.Column}
		c := remark{"#" + strings.TrimRight(t.Value, " \t\n"), f.gapAbove(at.line)}
		if at.line == line {
			f.trailing(slots, at, c)
		} else {
			f.standing(slots, at, c)
		}
	}
	for _, s := range slots {
		if !slices.ContainsFunc(slots, func(o *slot) bool { return o.at.line == s.at.line && o.at.before(s.at) }) {
			s.gap = f.gapAbove(s.at.line)
		}
	}
}

// gapAbove says whether the line above is empty.
func (f *formatter) gapAbove(line int) bool {
	return line >= 2 && line-2 < len(f.lines) && strings.TrimSpace(f.lines[line-2]) == ""
}

// open says whether at is inside all brackets that the item is in.
func (s *slot) open(at spot) bool {
	return !slices.ContainsFunc(s.in, func(e *element) bool { return e.flow && e.end.before(at) })
}

// trailing gives a comment to the item that began last on its line or before.
func (f *formatter) trailing(slots []*slot, at spot, c remark) {
	for _, s := range slices.Backward(slots) {
		if s.at.before(at) && s.open(at) {
			if len(s.tail) > 0 {
				s.below = append(s.below, c)
			} else {
				s.tail = append(s.tail, c)
			}
			return
		}
	}
	slots[0].above = append(slots[0].above, c)
}

// standing gives a comment on a line of its own to the next item, or to one before.
func (f *formatter) standing(slots []*slot, at spot, c remark) {
	next, column := (*item)(nil), 0
	var chain []*slot // what is before and can still go on
	depth := 0        // of brackets around the comment
	for _, s := range slots {
		if !s.at.before(at) {
			break
		}
		if v := s.value; v.flow && v.start.before(at) && at.before(v.end) {
			depth = max(depth, len(s.in)+1)
		}
	}
	for _, s := range slots {
		if s.at.before(at) {
			if s.open(at) {
				chain = append(chain, s)
			}
			continue
		}
		if len(s.in) < depth {
			break // behind the brackets
		}
		if s.open(at) {
			next, column = s.item, s.at.column
		}
		break
	}
	inside := depth > 0
	switch {
	case next != nil && (inside || at.column <= column):
		next.above = append(next.above, c)
	case len(chain) == 0:
		slots[0].above = append(slots[0].above, c)
	case inside:
		last := chain[len(chain)-1]
		for _, s := range slices.Backward(chain) {
			if len(s.in) == depth {
				last = s
				break
			}
		}
		if len(last.in) < depth { // brackets with nothing in them
			last.above = append(last.above, c)
		} else {
			last.item.below = append(last.item.below, c)
		}
	default:
		f.after(chain, at, c)
	}
}

// after gives a comment to the deepest item that is still going on and not indented
// deeper.
func (f *formatter) after(chain []*slot, at spot, c remark) {
	s := chain[len(chain)-1]
	for s.parent != nil && (slices.ContainsFunc(s.in, func(e *element) bool { return e.flow }) || s.at.column > at.column || s.parent.at.column == s.at.column) {
		s = s.parent
	}
	s.below = append(s.below, c)
}
