package policy

import (
	"crypto/sha256"
	"fmt"
)

// Term is one obligation as the file would write it.
type Term struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// noObligations is a permit that sets nothing.
var noObligations Obligations

// Terms are the obligations that are set, in the order of the language; the factor is
// always there. Two permits with the same terms oblige to the same: the rules of a filter
// that is this file's are among them, as a digest.
func (o *Obligations) Terms() []Term {
	var terms []Term
	for _, k := range obligations {
		if value := k.say(o); k.key == "factor" || value != k.say(&noObligations) {
			terms = append(terms, Term{k.key, value})
		}
		if k.key == "filter" && len(o.Rules) > 0 {
			h := sha256.New()
			for _, line := range o.Rules {
				fmt.Fprintf(h, "%d %s", len(line), line)
			}
			terms = append(terms, Term{"filter rules", fmt.Sprintf("%d, %x", len(o.Rules), h.Sum(nil)[:4])})
		}
	}
	return terms
}
