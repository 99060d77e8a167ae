package control

import (
	"bytes"
	"strconv"
)

// fieldText reads a text field of fixed size: up to the first NUL (RFC 2637
// §2.1: "less than 64 octets are padded with octets of value 0"). What a peer
// writes there is a claim, and may hold any octet; loggers must quote it.
func fieldText(field []byte) string {
	if i := bytes.IndexByte(field, 0); i >= 0 {
		field = field[:i]
	}
	return string(field)
}

// putText fills a zeroed text field and cuts what does not fit.
func putText(field []byte, s string) { copy(field, s) }

// enumName names v, or says which unknown value it is.
func enumName(names []string, v int) string {
	if v < len(names) && names[v] != "" {
		return names[v]
	}
	return "unknown (" + strconv.Itoa(v) + ")"
}
