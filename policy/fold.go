package policy

import (
	"unicode"
	"unicode/utf8"
)

// maxName bounds the names a policy compares, ours: directories stop at 256
// characters. A longer fact equals nothing.
const maxName = 512

// appendFold appends s with its letters in lower case, which is how the rest of
// Postern folds names, too. It allocates only if dst is too small.
func appendFold(dst []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r >= utf8.RuneSelf:
			dst = utf8.AppendRune(dst, unicode.ToLower(r))
		case r >= 'A' && r <= 'Z':
			dst = append(dst, byte(r)+'a'-'A')
		default:
			dst = append(dst, byte(r))
		}
	}
	return dst
}

func foldString(s string) string { return string(appendFold(nil, s)) }
