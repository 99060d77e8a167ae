package ldap

import (
	"errors"
	"strconv"
	"time"
)

// farFuture is where Samba's times begin to mean never: the end of 32 bits, of which
// several programs have written one second less or more, and of 64.
const farFuture = 1<<31 - 2

// parseUnix reads seconds since 1970. Zero and what means never are the zero time.
func parseUnix(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return time.Time{}, errors.New("not a number of seconds")
	case n == 0:
		return time.Time{}, nil
	case n < 0 || n >= farFuture:
		return never, nil
	}
	return time.Unix(n, 0).UTC(), nil
}

// never is after every login.
var never = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// lastDay is that of never.
const lastDay = 2932896

// parseDays reads days since 1970, -1 for never (shadow(5)). Day 0 is used to
// disable somebody.
func parseDays(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return time.Time{}, errors.New("not a number of days")
	case n < 0 || n > lastDay:
		return never, nil
	}
	return time.Unix(n*86400, 0).UTC(), nil
}

var errTime = errors.New("not a GeneralizedTime")

// parseTime reads a GeneralizedTime (RFC 4517 §3.3.13): 20060102150405Z, with
// minutes and seconds or without, a fraction of the last one, Z or an offset.
func parseTime(s string) (time.Time, error) {
	var part [6]int // year to second
	part[1], part[2] = 1, 1
	digits := func(n int) (v int, ok bool) {
		if len(s) < n {
			return 0, false
		}
		for i := range n {
			if s[i] < '0' || s[i] > '9' {
				return 0, false
			}
			v = v*10 + int(s[i]-'0')
		}
		s = s[n:]
		return v, true
	}
	read := 0
	for ; read < len(part); read++ {
		n := 2
		if read == 0 {
			n = 4
		}
		v, ok := digits(n)
		if !ok {
			break
		}
		part[read] = v
	}
	if read < 4 { // the hour must be there
		return time.Time{}, errTime
	}
	unit := [...]time.Duration{time.Hour, time.Minute, time.Second}[read-4]
	var fraction time.Duration
	if s != "" && (s[0] == '.' || s[0] == ',') {
		s = s[1:]
		scale := unit
		n := 0
		for ; len(s) > 0 && s[0] >= '0' && s[0] <= '9'; n++ {
			scale /= 10
			fraction += scale * time.Duration(s[0]-'0')
			s = s[1:]
		}
		if n == 0 {
			return time.Time{}, errTime
		}
	}
	var offset time.Duration
	switch {
	case s == "Z":
	case len(s) == 3 || len(s) == 5:
		sign := s[0]
		if sign != '-' && sign != '+' {
			return time.Time{}, errTime
		}
		s = s[1:]
		h, ok := digits(2)
		m := 0
		if ok && s != "" {
			m, ok = digits(2)
		}
		if !ok || h > 23 || m > 59 {
			return time.Time{}, errTime
		}
		offset = time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
		if sign == '-' {
			offset = -offset
		}
	default:
		return time.Time{}, errTime
	}
	t := time.Date(part[0], time.Month(part[1]), part[2], part[3], part[4], min(part[5], 59), 0, time.UTC)
	// time.Date moves the 31st of February into March. A leap second is the one before.
	if t.Month() != time.Month(part[1]) || t.Day() != part[2] || t.Hour() != part[3] || t.Minute() != part[4] || part[5] > 60 {
		return time.Time{}, errTime
	}
	return t.Add(fraction - offset), nil
}
