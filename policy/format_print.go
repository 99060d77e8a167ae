package policy

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxColumns is how wide brackets may be, ours.
const maxColumns = 120

// printed is a line on its way out.
type printed struct {
	indent  int
	text    string
	remark  string // at its end
	gap     bool   // an empty line in front
	literal bool   // of a block of text
}

func (f *formatter) print(root *element) []byte {
	lines := root.lines(0)
	var b strings.Builder
	for i, l := range lines {
		if l.gap && i > 0 {
			b.WriteByte('\n')
		}
		if l.text == "" && l.literal {
			b.WriteByte('\n')
			continue
		}
		b.WriteString(strings.Repeat(" ", l.indent) + l.text)
		if l.remark != "" {
			b.WriteString(strings.Repeat(" ", column(lines, i)-l.width()+1) + l.remark)
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

func (l *printed) width() int { return l.indent + utf8.RuneCountInString(l.text) }

// column is where the comments of line i and its neighbours begin, but for a blank.
func column(lines []printed, i int) int {
	next := func(j int) bool { // to the one above
		return lines[j].remark != "" && lines[j-1].remark != "" && !lines[j].gap && lines[j].indent == lines[j-1].indent
	}
	widest := lines[i].width()
	for j := i; j > 0 && next(j); j-- {
		widest = max(widest, lines[j-1].width())
	}
	for j := i + 1; j < len(lines) && next(j); j++ {
		widest = max(widest, lines[j].width())
	}
	return widest
}

// lines writes a collection outside of brackets.
func (e *element) lines(indent int) (all []printed) {
	for i, it := range e.items {
		lines := it.lines(e, indent)
		if i == 0 {
			lines[0].gap = false
		}
		all = append(all, lines...)
	}
	return all
}

// lines writes an item of e.
func (it *item) lines(e *element, indent int) (all []printed) {
	remarks := func(cs []remark) {
		for _, c := range cs {
			all = append(all, printed{indent: indent, text: c.text, gap: c.gap})
		}
	}
	remarks(it.above)
	start, value := printed{indent: indent, gap: it.gap}, it.value
	head := "-"
	if e.mapping {
		head = it.key + ":"
	}
	switch {
	case len(it.tail) > 0 && len(value.block) > 0 && value.short != "": // it would end the text
		remarks([]remark{{it.tail[0].text, it.gap}})
		start.gap = false
	case len(it.tail) > 0:
		start.remark = it.tail[0].text
	}
	nested := len(value.items) > 0 && (!value.flow || value.remarked() || indent+utf8.RuneCountInString(head+" "+value.brackets()) > maxColumns)
	switch {
	case !nested:
		start.text = head
		if text := value.begin(); text != "" {
			start.text += " " + text
		}
		all = append(all, start)
		for _, line := range value.block {
			all = append(all, printed{indent: indent + 2, text: line, literal: true})
		}
	case e.mapping:
		start.text = head
		all = append(all, start)
		all = append(all, value.lines(indent+2)...)
	default:
		// The first line of what is inside stands behind the dash.
		inside := value.lines(indent + 2)
		first := slices.IndexFunc(inside, func(l printed) bool { return !strings.HasPrefix(l.text, "#") })
		for i := range first {
			inside[i].indent = indent
			if i == 0 {
				inside[i].gap = start.gap
			}
		}
		if first == 0 {
			inside[0].gap = start.gap
		}
		if start.remark != "" {
			inside = slices.Insert(inside, 0, printed{indent: indent, text: start.remark, gap: start.gap})
			inside[1].gap, first = false, first+1
		}
		inside[first].indent, inside[first].text = indent, "- "+inside[first].text
		all = append(all, inside...)
	}
	remarks(it.below)
	return all
}

// remarked says whether a comment is inside.
func (e *element) remarked() bool {
	return slices.ContainsFunc(e.items, func(it *item) bool {
		return len(it.above)+len(it.tail)+len(it.below) > 0 || it.value.remarked()
	})
}

// begin is what stands behind the colon.
func (e *element) begin() string {
	if e.text != "" {
		return e.text
	}
	return e.brackets()
}

// brackets writes a value on one line.
func (e *element) brackets() string {
	if !e.mapping && !e.flow && len(e.items) == 0 {
		return cmp.Or(e.short, e.text)
	}
	texts := make([]string, len(e.items))
	for i, it := range e.items {
		texts[i] = it.value.brackets()
		if e.mapping {
			texts[i] = strings.TrimRight(it.key+": "+texts[i], " ")
		}
	}
	if e.mapping {
		return "{" + strings.Join(texts, ", ") + "}"
	}
	return "[" + strings.Join(texts, ", ") + "]"
}
