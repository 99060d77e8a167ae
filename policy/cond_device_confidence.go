package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// hasConfidence holds for a device of which something is said that can be believed at
// least that much. The whole rule believes nothing less, wherever else it asks for
// device facts: in any, all and not, in when and in unless. A rule may say it once.
//
//	when: {device.confidence: attested, device.report_age: "<= 1h"}
//
// none holds where nothing is said, and demands nothing.
type hasConfidence struct{ least Confidence }

func confidenceValues() values {
	return values{say: "one of: " + strings.Join(confidenceWords(), ", "), words: confidenceWords(), single: true}
}

func confidenceWords() []string { return confidenceNames[:] }

func readConfidence(r *reader, n ast.Node) matcher {
	expected := "one of: " + strings.Join(confidenceWords(), ", ")
	s, ok := r.text(n, expected)
	if !ok {
		return nil
	}
	i := slices.Index(confidenceWords(), s)
	switch {
	case i < 0:
		r.fail(position(n), expected, "unknown confidence %q%s", s, didYouMean(s, confidenceWords()))
		return nil
	case r.demands > 0:
		r.fail(position(n), "a rule of its own for each", "a second device.confidence in one rule; the first is on line %d", r.demands)
		return nil
	}
	r.demands, r.demand = position(n).Line, Confidence(i)
	return hasConfidence{Confidence(i)}
}

func (m hasConfidence) match(e *evaluation) bool {
	if m.least == NoConfidence {
		return e.confidence == NoConfidence
	}
	return e.confidence >= m.least
}

func factConfidence(f *Facts, _ time.Time) string { return f.Device.confidence().String() }
