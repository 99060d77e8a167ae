package mschap

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Codes of RFC 2759 §6, those a server sends.
const (
	ErrorRestrictedLogonHours = 646
	ErrorAccountDisabled      = 647
	ErrorPasswordExpired      = 648
	ErrorNoDialinPermission   = 649
	ErrorAuthenticationFailed = 691
	ErrorChangingPassword     = 709
)

// Version is the V= of RFC 2759 §6: 3 says that the server would understand
// MS-CHAP-V2's Change-Password packet.
const Version = 3

// Error is the text of a Failure packet, RFC 2759 §6, and of MS-CHAP-Error,
// RFC 2548 §2.1.5 (there after one octet of Ident).
type Error struct {
	Code      int      // E=
	Retry     bool     // R=1: the peer may send another Response, to Challenge
	Challenge [16]byte // C=
	Version   int      // V=
	Message   string   // M=, to the end of the packet
}

// String returns `E=691 R=0 C=… V=3 M=…`; M= is left out when there is none.
func (e Error) String() string {
	retry := 0
	if e.Retry {
		retry = 1
	}
	s := fmt.Sprintf("E=%d R=%d C=%X V=%d", e.Code, retry, e.Challenge[:], e.Version)
	if e.Message != "" {
		s += " M=" + e.Message
	}
	return s
}

// ParseError reads what String writes and what servers write in its place:
// only E= must be there (pptpd says V=0, some say no C= or V=), the order is free,
// keys we do not know are passed over, and M= reaches to the end. A retry
// without a challenge to answer is refused.
func ParseError(s string) (Error, error) {
	var e Error
	var haveCode, haveChallenge bool
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		if strings.HasPrefix(s, "M=") {
			e.Message = s[2:]
			break
		}
		var word string
		word, s, _ = strings.Cut(s, " ")
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "E":
			n, err := parseNumber(value)
			if err != nil {
				return Error{}, fmt.Errorf("MS-CHAP error text: E: %w", err)
			}
			e.Code, haveCode = n, true
		case "R":
			if value != "0" && value != "1" {
				return Error{}, errors.New("MS-CHAP error text: R is neither 0 nor 1")
			}
			e.Retry = value == "1"
		case "C":
			if len(value) != 2*len(e.Challenge) {
				return Error{}, errors.New("MS-CHAP error text: C is not 32 digits")
			}
			if _, err := hex.Decode(e.Challenge[:], []byte(value)); err != nil {
				return Error{}, errors.New("MS-CHAP error text: C is not hexadecimal")
			}
			haveChallenge = true
		case "V":
			n, err := parseNumber(value)
			if err != nil {
				return Error{}, fmt.Errorf("MS-CHAP error text: V: %w", err)
			}
			e.Version = n
		}
	}
	if !haveCode {
		return Error{}, errors.New("MS-CHAP error text: no E")
	}
	if e.Retry && !haveChallenge {
		return Error{}, errors.New("MS-CHAP error text: R=1 without C")
	}
	return e, nil
}

// parseNumber reads the "ASCII representation of a decimal number … need not
// be 3 digits long" of RFC 2759 §6; ten digits are its limit.
func parseNumber(s string) (int, error) {
	if s == "" || len(s) > 10 {
		return 0, errors.New("not one to ten digits")
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, errors.New("not a decimal number")
	}
	return int(n), nil
}
