// Package housekeeping keeps the house rules that no compiler knows: which
// package may import which, what a binary must not link, that every package says
// what it is, that whatever parses bytes is fuzzed, that the README's examples
// read as what they claim to be. Its tests are the rules; it exports nothing.
//
// They look at the source tree through the go command, whose answers go test's
// result cache does not see, so `make check` runs them with -count=1.
package housekeeping
