package ticket

import (
	"crypto/rand"
	"strings"
)

// alphabet is Crockford's base 32: without I, L, O and U.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// Draw draws n characters that people can copy from paper.
func Draw(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // ends the process rather than fail
	for i := range b {
		b[i] = alphabet[b[i]%byte(len(alphabet))] // 256 is a multiple of 32
	}
	return string(b)
}

// Dashed groups a code by four for people.
func Dashed(code string) string {
	var b strings.Builder
	for i := range len(code) {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(code[i])
	}
	return b.String()
}

// maxTyped is more than anybody types.
const maxTyped = 64

// Plain undoes what people do to a code: lower case, spaces, dashes, look-alikes. "" is
// no code.
func Plain(typed string) string {
	if len(typed) > maxTyped {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '\t':
			return -1
		case 'o', 'O':
			return '0'
		case 'i', 'I', 'l', 'L':
			return '1'
		}
		if r >= 'a' && r <= 'z' {
			r += 'A' - 'a'
		}
		return r
	}, typed)
}
