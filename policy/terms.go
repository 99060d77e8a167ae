package policy

import (
	"crypto/sha256"
	"fmt"
	"sync"
)

// Term is one obligation as the file would write it.
type Term struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// unset is what each obligation says that is not set.
var unset = sync.OnceValue(func() []string {
	said := make([]string, len(obligations))
	for i, k := range obligations {
		said[i] = k.say(new(Obligations))
	}
	return said
})

// Terms are the obligations that are set, in the order of the language; the factor is
// always there. Two permits with the same terms oblige to the same: the rules of a filter
// that is this file's are among them, as a digest.
func (o *Obligations) Terms() []Term {
	var terms []Term
	for i, k := range obligations {
		if value := k.say(o); k.key == "factor" || value != unset()[i] {
			terms = append(terms, Term{k.key, value})
		}
		if k.key == "filter" && len(o.Rules) > 0 {
			h := sha256.New()
			for _, line := range o.Rules {
				fmt.Fprintf(h, "%d %s", len(line), line)
			}
			terms = append(terms, Term{"filter rules", fmt.Sprintf("%d lines, %x", len(o.Rules), h.Sum(nil)[:4])})
		}
	}
	return terms
}

// DiffTerms says which obligations differ. One that is not set is "".
func DiffTerms(old, now []Term) []Detail {
	var a, b part
	for _, t := range old {
		a.add(t.Key, t.Value)
	}
	for _, t := range now {
		b.add(t.Key, t.Value)
	}
	return b.against(&a)
}
