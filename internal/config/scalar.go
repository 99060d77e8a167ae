package config

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// scalar says how values of one type are written.
type scalar struct {
	expected string
	number   bool // a YAML integer, not text
	boolean  bool
	set      func(v reflect.Value, text string) error
}

// expecter is a type of ours that is written as one value.
type expecter interface {
	encoding.TextUnmarshaler
	expected() string
}

var scalars = map[reflect.Type]*scalar{
	reflect.TypeFor[time.Duration](): {
		expected: "a duration such as 30s, 5m or 12h",
		set: func(v reflect.Value, text string) error {
			d, err := time.ParseDuration(text)
			if err != nil {
				return errors.New("not a duration")
			}
			v.SetInt(int64(d))
			return nil
		},
	},
	reflect.TypeFor[netip.Addr](): {
		expected: "an address such as 192.0.2.1",
		set: func(v reflect.Value, text string) error {
			a, err := netip.ParseAddr(text)
			if err != nil || a.Zone() != "" {
				return errors.New("not an address")
			}
			v.Set(reflect.ValueOf(a))
			return nil
		},
	},
	reflect.TypeFor[netip.AddrPort](): {
		expected: "address and port such as 192.0.2.1:1812",
		set: func(v reflect.Value, text string) error {
			a, err := netip.ParseAddrPort(text)
			if err != nil || a.Port() == 0 || a.Addr().Zone() != "" {
				return errors.New("not address and port")
			}
			v.Set(reflect.ValueOf(a))
			return nil
		},
	},
	reflect.TypeFor[netip.Prefix](): {
		expected: "a network such as 192.0.2.0/24, or an address",
		set: func(v reflect.Value, text string) error {
			p, err := ParseNetwork(text)
			if err != nil {
				return err
			}
			v.Set(reflect.ValueOf(p))
			return nil
		},
	},
}

// ParseNetwork reads a network, or an address as the network of itself alone.
func ParseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New("not a network")
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("an address inside a network; the network is %v", p.Masked())
	}
	return p, nil
}

var kinds = map[reflect.Kind]*scalar{
	reflect.String: {
		expected: "text (quote it if it looks like a number)",
		set: func(v reflect.Value, text string) error {
			if text == "" {
				return errors.New("empty")
			}
			v.SetString(text)
			return nil
		},
	},
	reflect.Bool: {
		expected: "true or false",
		boolean:  true,
		set: func(v reflect.Value, text string) error {
			if text != "true" && text != "false" {
				return errors.New("neither true nor false")
			}
			v.SetBool(text == "true")
			return nil
		},
	},
	reflect.Int: {
		expected: "a whole number",
		number:   true,
		set: func(v reflect.Value, text string) error {
			n, err := strconv.Atoi(text) // no octal, hexadecimal or underscores
			if err != nil || len(text) > 1 && text[0] == '0' {
				return errors.New("not a plain decimal number")
			}
			v.SetInt(int64(n))
			return nil
		},
	},
}

// scalarOf returns how t is written, nil when t is no single value.
func scalarOf(t reflect.Type) *scalar {
	if e, ok := reflect.New(t).Interface().(expecter); ok {
		return &scalar{expected: e.expected(), set: func(v reflect.Value, text string) error {
			return v.Addr().Interface().(expecter).UnmarshalText([]byte(text))
		}}
	}
	if sc := scalars[t]; sc != nil {
		return sc
	}
	return kinds[t.Kind()]
}

// bounds enforces the min and max of a tag.
func bounds(v reflect.Value, tag reflect.StructTag) error {
	low, high := tag.Get("min"), tag.Get("max")
	if low == "" && high == "" {
		return nil
	}
	below := low != "" && v.Int() < bound(v.Type(), low)
	above := high != "" && v.Int() > bound(v.Type(), high)
	switch {
	case !below && !above:
		return nil
	case low != "" && high != "":
		return fmt.Errorf("%s to %s", low, high)
	case below:
		return fmt.Errorf("%s or more", low)
	}
	return fmt.Errorf("%s or less", high)
}

func bound(t reflect.Type, text string) int64 {
	v := reflect.New(t).Elem()
	if err := scalarOf(t).set(v, text); err != nil {
		panic("config: tag " + text + ": " + err.Error()) // found by any test
	}
	return v.Int()
}

// setDefault puts the tag's value into an absent key.
func setDefault(f field) {
	text := f.tag.Get("default")
	if text == "" {
		return
	}
	if f.value.Kind() != reflect.Slice {
		mustSet(f.value, text)
		return
	}
	parts := strings.Split(text, ",")
	f.value.Set(reflect.MakeSlice(f.value.Type(), len(parts), len(parts)))
	for i, part := range parts {
		mustSet(f.value.Index(i), part)
	}
}

func mustSet(v reflect.Value, text string) {
	if err := scalarOf(v.Type()).set(v, text); err != nil {
		panic("config: default " + text + ": " + err.Error()) // found by any test
	}
}
