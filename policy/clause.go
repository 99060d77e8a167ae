package policy

import "github.com/goccy/go-yaml/token"

// clause is one condition of a rule, with all that explanations, coverage and the linter
// need to know of it.
type clause struct {
	key     string // of the conditions
	pos     *token.Position
	text    string // its values as the file has them, on one line
	matcher matcher
}
