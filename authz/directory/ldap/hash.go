package ldap

import (
	"encoding/hex"
	"errors"
)

// noPassword is how Samba writes that there is none.
const noPassword = "NO PASSWORDXXXXXXXXXXXXXXXXXXXXX"

// parseHash reads an NT hash. Its errors do not repeat it. there is false for an
// account that has none.
func parseHash(b []byte, form HashForm) (hash [16]byte, there bool, err error) {
	switch form {
	case HashHex:
		if string(b) == noPassword {
			return hash, false, nil
		}
		if len(b) != hex.EncodedLen(len(hash)) {
			return hash, false, errors.New("not 32 hexadecimal digits")
		}
		if _, err := hex.Decode(hash[:], b); err != nil {
			return [16]byte{}, false, errors.New("not 32 hexadecimal digits")
		}
		return hash, true, nil
	case HashBinary:
		if len(b) != len(hash) {
			return hash, false, errors.New("not 16 octets")
		}
		copy(hash[:], b)
		return hash, true, nil
	case HashUnknown:
	}
	return hash, false, errors.New("the form is not said")
}
