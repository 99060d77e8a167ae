package report

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors of what is parsed here.
var (
	ErrMalformed = errors.New("report: malformed")
	ErrVersion   = errors.New("report: of another version")
)

// Report is what a device says of itself at one moment.
type Report struct {
	V      int       `json:"v"`
	Device string    `json:"device"`
	Time   time.Time `json:"time"` // by the device's clock, in seconds
	Nonce  Nonce     `json:"nonce"`
	Seq    int64     `json:"seq"` // rises from each report of the device to its next
	Facts  Facts     `json:"facts"`
}

// Facts are what the device found out. What it could not is left zero.
type Facts struct {
	OS        string    `json:"os,omitempty"`         // windows, linux
	OSVersion string    `json:"os_version,omitempty"` // dotted numbers
	Encrypted Answer    `json:"disk_encrypted,omitzero"`
	Firewall  Answer    `json:"firewall,omitzero"`
	Antivirus Answer    `json:"antivirus,omitzero"`
	Lock      Answer    `json:"screen_lock,omitzero"`
	Patched   time.Time `json:"patched,omitzero"` // when it last got updates, in seconds
	Booted    time.Time `json:"booted,omitzero"`
}

// Answer is what is known of a question. The zero value is that nothing is.
type Answer uint8

const (
	Unknown Answer = iota
	No
	Yes
)

var answerNames = [...]string{Unknown: "unknown", No: "no", Yes: "yes"}

func (a Answer) String() string {
	if int(a) < len(answerNames) {
		return answerNames[a]
	}
	return answerNames[Unknown]
}

// AnswerOf is what somebody knows who has looked.
func AnswerOf(yes bool) Answer {
	if yes {
		return Yes
	}
	return No
}

// MarshalJSON writes true or false; what is not known is left out instead.
func (a Answer) MarshalJSON() ([]byte, error) {
	switch a {
	case Yes:
		return []byte("true"), nil
	case No:
		return []byte("false"), nil
	case Unknown:
	}
	return nil, errors.New("report: nothing is known")
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Answer) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true":
		*a = Yes
	case "false":
		*a = No
	default:
		return ErrMalformed
	}
	return nil
}

// Nonce is drawn for each report.
type Nonce [16]byte

func (n Nonce) String() string { return base64.RawURLEncoding.EncodeToString(n[:]) }

// MarshalText implements encoding.TextMarshaler.
func (n Nonce) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Nonce) UnmarshalText(b []byte) error {
	if len(b) != base64.RawURLEncoding.EncodedLen(len(n)) {
		return ErrMalformed
	}
	_, err := base64.RawURLEncoding.Strict().Decode(n[:], b)
	return err
}

// Append appends the report as it is signed. It must be valid.
func (r *Report) Append(b []byte) []byte {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // a year beyond 9999: Check looks
	}
	return append(b, text...)
}

// Check says what is wrong with a report.
func (r *Report) Check() error {
	f := &r.Facts
	switch {
	case r.V != Version:
		return ErrVersion
	case !ValidID(r.Device):
		return fmt.Errorf("%w: device", ErrMalformed)
	case !whole(r.Time):
		return fmt.Errorf("%w: time", ErrMalformed)
	case r.Nonce == Nonce{}:
		return fmt.Errorf("%w: nonce", ErrMalformed)
	case r.Seq < 1 || r.Seq > maxSeq:
		return fmt.Errorf("%w: seq", ErrMalformed)
	case f.OS != "" && !isWord(f.OS):
		return fmt.Errorf("%w: os", ErrMalformed)
	case f.OSVersion != "" && !IsVersion(f.OSVersion):
		return fmt.Errorf("%w: os_version", ErrMalformed)
	case !f.Patched.IsZero() && !whole(f.Patched):
		return fmt.Errorf("%w: patched", ErrMalformed)
	case !f.Booted.IsZero() && !whole(f.Booted):
		return fmt.Errorf("%w: booted", ErrMalformed)
	case f.Encrypted > Yes || f.Firewall > Yes || f.Antivirus > Yes || f.Lock > Yes:
		return fmt.Errorf("%w: an answer", ErrMalformed)
	}
	return nil
}

// Parse reads a report in its one spelling: ErrMalformed, ErrVersion.
func Parse(b []byte) (*Report, error) {
	if len(b) > MaxReport {
		return nil, fmt.Errorf("%w: %d octets", ErrMalformed, len(b))
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, otherVersion(b))
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(r.Append(nil), b) {
		return nil, fmt.Errorf("%w: spelled in another way", ErrMalformed)
	}
	return r, nil
}

// otherVersion tells what cannot be read because it is newer from what never can.
func otherVersion(b []byte) error {
	var v struct{ V int }
	if json.Unmarshal(b, &v) == nil && v.V > Version {
		return ErrVersion
	}
	return errors.New("no report")
}

// whole says whether t is a second of ours, in UTC.
func whole(t time.Time) bool {
	return t.Location() == time.UTC && t.Nanosecond() == 0 && t.Year() >= 1970 && t.Year() <= 9999
}

func isWord(s string) bool {
	return len(s) <= maxWord && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// IsVersion says whether s is dotted numbers, such as 10.0.19045.3570.
func IsVersion(s string) bool {
	if len(s) > maxWord {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || len(part) > 9 || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}
