//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	goredis "github.com/redis/go-redis/v9"
)

// hidden is a secret, and every form it could stand in.
type hidden struct {
	what  string
	forms [][]byte
}

// hide lists the forms of octets: as they are, in hexadecimal digits of either case, in
// base32, and in base64 of either alphabet wherever in a longer text they begin.
func hide(what string, secrets ...[]byte) hidden {
	h := hidden{what: what}
	for _, s := range secrets {
		if len(s) < 8 {
			panic(what + " is so short that it would be found anywhere")
		}
		text := hex.EncodeToString(s)
		b32 := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(s)
		b32 = b32[:len(s)*8/5] // the last digit depends on what follows
		for _, f := range []string{text, strings.ToUpper(text), b32, strings.ToLower(b32)} {
			h.forms = append(h.forms, []byte(f))
		}
		h.forms = append(h.forms, slices.Concat([][]byte{s}, numbers(s), numbers([]byte(text)))...)
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			for shift := range 3 {
				b := alphabet.EncodeToString(append(make([]byte, shift), s...))
				from, to := (shift*8+5)/6, (shift+len(s))*8/6
				h.forms = append(h.forms, []byte(b[from:to]))
			}
		}
	}
	return h
}

// hideText is hide for what people type, UTF-16 as Windows has it included.
func hideText(what string, texts ...string) hidden {
	var all [][]byte
	for _, s := range texts {
		var wide []byte
		for _, u := range utf16.Encode([]rune(s)) {
			wide = append(wide, byte(u), byte(u>>8))
		}
		all = append(all, []byte(s), wide)
	}
	return hide(what, all...)
}

// numbers are the forms in which Redis' dump has digits, which it makes a number of:
// RDB_ENC_INT32, and the integers of 32 and 64 bits in a listpack. Those of 24 bits are
// less than any eight digits without a zero in front, which stay digits.
func numbers(form []byte) [][]byte {
	n, err := strconv.ParseInt(string(form), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != string(form) {
		return nil
	}
	little := func(kind byte, octets int) []byte {
		b := []byte{kind}
		for i := range octets {
			b = append(b, byte(n>>(8*i)))
		}
		return b
	}
	if n > math.MaxInt32 {
		return [][]byte{little(0xf4, 8)}
	}
	return [][]byte{little(0xc2, 4), little(0xf3, 4)}
}

// leaks says which of the secrets stand in a text.
func leaks(text []byte, secrets []hidden) []string {
	var found []string
	for _, h := range secrets {
		if slices.ContainsFunc(h.forms, func(f []byte) bool { return bytes.Contains(text, f) }) {
			found = append(found, h.what)
		}
	}
	return found
}

// everything is all that Redis has, a line for each key and each part of its value, read
// as a client reads it: nothing is packed.
func everything(t *testing.T, r *goredis.Client) (text []byte, keys []string) {
	t.Helper()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	for scan := r.Scan(ctx, 0, "*", 1000).Iterator(); ; {
		if !scan.Next(ctx) {
			must(scan.Err())
			return b.Bytes(), keys
		}
		key := scan.Val()
		keys = append(keys, key)
		fmt.Fprintln(&b, key)
		kind, err := r.Type(ctx, key).Result()
		must(err)
		var parts []string
		switch kind {
		case "none": // it has lapsed meanwhile
		case "string":
			var s string
			s, err = r.Get(ctx, key).Result()
			parts = []string{s}
		case "hash":
			var m map[string]string
			m, err = r.HGetAll(ctx, key).Result()
			for k, v := range m {
				parts = append(parts, k, v)
			}
		case "list":
			parts, err = r.LRange(ctx, key, 0, -1).Result()
		case "set":
			parts, err = r.SMembers(ctx, key).Result()
		case "zset":
			var z []goredis.Z
			z, err = r.ZRangeWithScores(ctx, key, 0, -1).Result()
			for _, m := range z {
				parts = append(parts, fmt.Sprint(m.Member), strconv.FormatFloat(m.Score, 'f', -1, 64))
			}
		case "stream":
			var s []goredis.XMessage
			s, err = r.XRange(ctx, key, "-", "+").Result()
			for _, m := range s {
				parts = append(parts, m.ID)
				for k, v := range m.Values {
					parts = append(parts, k, fmt.Sprint(v))
				}
			}
		default:
			t.Fatalf("%s is a %s: who can read that?", key, kind)
		}
		if err != goredis.Nil {
			must(err)
		}
		for _, p := range parts {
			fmt.Fprintln(&b, p)
		}
	}
}
