package ad

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
)

// machinePasswordLen is in octets of random, ours: more than the hash made of it
// has, and within what all tools accept once it is text.
const machinePasswordLen = 48

// newMachinePassword draws a password. Complexity rules hold for machines, too:
// capitals, small letters and digits are among 64 characters as good as always.
func newMachinePassword() []byte {
	for {
		var raw [machinePasswordLen]byte
		_, _ = rand.Read(raw[:]) // never fails
		p := base64.RawURLEncoding.AppendEncode(nil, raw[:])
		clear(raw[:])
		text := string(p)
		if strings.ContainsFunc(text, unicode.IsUpper) && strings.ContainsFunc(text, unicode.IsLower) && strings.ContainsFunc(text, unicode.IsDigit) {
			return p
		}
	}
}

// unicodePwd is a password as AD takes it ([MS-ADTS] §3.1.1.3.1.5): in quotes, in
// UTF-16.
func unicodePwd(password []byte) string {
	units := utf16.Encode([]rune(`"` + string(password) + `"`))
	b := make([]byte, 0, 2*len(units))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// maxMachine is what a NetBIOS name may have.
const maxMachine = 15

// checkMachine refuses names that no computer may have, or that would need escapes
// in the names made of it.
func checkMachine(name string) error {
	if name == "" || len(name) > maxMachine {
		return fmt.Errorf("machine account %q: want a name of 1 to %d characters", name, maxMachine)
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
		default:
			return fmt.Errorf("machine account %q: want letters, digits and hyphens, without the dollar sign", name)
		}
	}
	return nil
}
