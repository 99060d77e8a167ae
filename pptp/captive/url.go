package captive

import (
	"errors"
	"net/url"
	"strings"
)

// maxURL is what one RADIUS attribute of a vendor's holds (RFC 2865 §5.26).
const maxURL = 247

var errURL = errors.New("captive: no absolute http or https URL of printable ASCII")

// CheckURL tells whether clients can be sent to text: an absolute URL with a host and
// without a user, of characters that need no quoting in a header or in HTML but for &.
func CheckURL(text string) error {
	if len(text) > maxURL || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7F || strings.ContainsRune("\"<>\\^`{|}'", r) }) {
		return errURL
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return errURL
	}
	return nil
}
