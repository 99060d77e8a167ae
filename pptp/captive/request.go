package captive

import "errors"

const (
	// maxHeader bounds a request up to its empty line. Browsers that carry the cookies
	// of any host they like stay below 16 KB, for servers at large do not take more.
	maxHeader = 16 << 10
	// maxMethod bounds a method's name: the longest registered has 17 letters.
	maxMethod = 32
)

// Why a request is not read to its end. The connection is of no use afterwards.
var (
	errMalformed = errors.New("captive: no HTTP request")
	errTooLong   = errors.New("captive: request header too long")
)

// version is how an HTTP/1 request line ends, before the digit (RFC 9112 §2.3).
const version = " HTTP/1."

// request reads a request's header octet by octet and keeps where it stands, the
// method and the end of the request line. The zero value is at the beginning.
type request struct {
	octets int
	line   int // octets of the present line, its end not counted
	lines  int // lines before it
	cr     bool

	method  [maxMethod]byte
	letters int // of the method
	named   bool
	tail    [len(version) + 1]byte // of the request line
}

// input takes what came. Done is true when the header is complete; what follows it in
// b is not looked at.
func (r *request) input(b []byte) (done bool, err error) {
	for _, c := range b {
		if r.octets++; r.octets > maxHeader {
			return false, errTooLong
		}
		if done, err := r.octet(c); done || err != nil {
			return done, err
		}
	}
	return false, nil
}

func (r *request) octet(c byte) (done bool, err error) {
	switch {
	case c == '\n': // alone, too (RFC 9112 §2.2)
		return r.endOfLine()
	case r.cr: // a CR in the middle of a line is what request smuggling is made of
		return false, errMalformed
	case c == '\r':
		r.cr = true
		return false, nil
	case c < ' ' && c != '\t' || c == 0x7F:
		return false, errMalformed
	}
	if r.lines == 0 {
		if err := r.requestLine(c); err != nil {
			return false, err
		}
	}
	r.line++
	return false, nil
}

// requestLine keeps method and tail: method SP target SP version (RFC 9112 §3).
func (r *request) requestLine(c byte) error {
	switch {
	case r.named:
	case c == ' ' && r.letters > 0:
		r.named = true
	case !letter(c) || r.letters == maxMethod:
		return errMalformed
	default:
		r.method[r.letters] = c
		r.letters++
	}
	copy(r.tail[:], r.tail[1:])
	r.tail[len(r.tail)-1] = c
	return nil
}

func (r *request) endOfLine() (done bool, err error) {
	r.cr = false
	empty := r.line == 0
	r.line = 0
	switch {
	case empty && r.lines == 0: // before the request line (RFC 9112 §2.2)
		return false, nil
	case empty:
		return true, nil
	case r.lines == 0:
		digit := r.tail[len(r.tail)-1]
		if string(r.tail[:len(version)]) != version || digit < '0' || digit > '9' {
			return false, errMalformed
		}
	}
	r.lines++
	return false, nil
}

// head says whether the answer must have no content (RFC 9110 §9.3.2).
func (r *request) head() bool { return string(r.method[:r.letters]) == "HEAD" }

// letter is RFC 9110's tchar as far as any method has used it.
func letter(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
