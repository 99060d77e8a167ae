package ppp

import "errors"

// option is a configuration option (RFC 1661 §6): raw is the whole of it, value
// what follows type and length. Both are views of the packet.
type option struct {
	typ   uint8
	value []byte
	raw   []byte
}

const optionHeader = 2 // type, length

// ErrOptions is the error of an option list whose lengths do not add up. Such a
// packet is dropped whole: what its author meant cannot be known, and an Ack or
// Reject would quote nonsense.
var ErrOptions = errors.New("ppp: malformed configuration options")

// parseOption reads the first option of b and its length.
func parseOption(b []byte) (option, int, error) {
	if len(b) < optionHeader {
		return option{}, 0, ErrOptions
	}
	n := int(b[1])
	if n < optionHeader || n > len(b) {
		return option{}, 0, ErrOptions
	}
	return option{typ: b[0], value: b[optionHeader:n:n], raw: b[:n:n]}, n, nil
}

// checkOptions tells whether b is a whole list of options.
func checkOptions(b []byte) error {
	for len(b) > 0 {
		_, n, err := parseOption(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// options ranges over a list that checkOptions has passed; it stops at an error.
func options(b []byte) func(yield func(option) bool) {
	return func(yield func(option) bool) {
		for len(b) > 0 {
			o, n, err := parseOption(b)
			if err != nil || !yield(o) {
				return
			}
			b = b[n:]
		}
	}
}

// Append writes the option.
func (o option) Append(dst []byte) []byte {
	dst = append(dst, o.typ, byte(optionHeader+len(o.value)))
	return append(dst, o.value...)
}

// seen remembers option types. No option here may be listed twice (RFC 1661 §6),
// and an answer that treats each type once cannot grow with the request.
type seen [4]uint64

// again tells whether typ was seen before, and notes it.
func (s *seen) again(typ uint8) bool {
	was := s[typ>>6]&(1<<(typ&63)) != 0
	s[typ>>6] |= 1 << (typ & 63)
	return was
}

func (s *seen) has(typ uint8) bool { return s[typ>>6]&(1<<(typ&63)) != 0 }

// reply collects the answer to a Configure-Request.
type reply struct {
	nak, rej []byte
	fail     Reason // end the machine instead of answering
}

// code is the answer's code: a Reject goes before a Nak (RFC 1661 §5.4), so a
// request with both kinds of fault is rejected first.
func (r *reply) code() Code {
	switch {
	case len(r.rej) > 0:
		return CodeConfigureReject
	case len(r.nak) > 0:
		return CodeConfigureNak
	}
	return CodeConfigureAck
}

// reject refuses an option outright.
func (r *reply) reject(o option) { r.rej = append(r.rej, o.raw...) }

// suggest Naks o with value, or rejects it when the peer has had its Naks
// (RFC 1661 §4.6, Max-Failure).
func (r *reply) suggest(o option, stubborn bool, value []byte) {
	if stubborn {
		r.reject(o)
		return
	}
	r.nak = option{typ: o.typ, value: value}.Append(r.nak)
}
