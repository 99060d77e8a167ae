package ldapc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// directoryOf answers searches with n entries, in pages where asked, and keeps to
// the size limit if it is polite.
func directoryOf(n int, polite bool) *fake {
	return &fake{answer: func(r *request) bool {
		if r.op.Tag != ldap.ApplicationSearchRequest {
			r.done(0, "")
			return true
		}
		limit := int(r.op.Children[3].Value.(int64))
		from, to := 0, n
		var controls []ldap.Control
		if paging := r.paging(); paging != nil {
			fmt.Sscan(string(paging.Cookie), &from)
			to = min(from+int(paging.PagingSize), n)
			next := &ldap.ControlPaging{}
			if to < n {
				next.Cookie = fmt.Append(nil, to)
			}
			controls = append(controls, next)
		}
		code := 0
		if polite && limit > 0 && to-from > limit {
			to, code = from+limit, ldap.LDAPResultSizeLimitExceeded
		}
		for i := from; i < to; i++ {
			r.entry(fmt.Sprint("cn=", i), map[string]string{"cn": fmt.Sprint(i)})
		}
		r.done(code, "", controls...)
		return true
	}}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		about             string
		have, limit, page int
		polite            bool
		want              int
		tooMany           bool
		requests, dials   int
	}{
		{"all", 5, 10, 0, true, 5, false, 1, 1},
		{"as many as the limit", 5, 5, 0, true, 5, false, 1, 1},
		{"more", 5, 3, 0, true, 3, true, 1, 1},
		{"more than asked for", 500, 3, 0, false, 3, true, 1, 1},
		{"pages", 25, 100, 10, true, 25, false, 3, 1},
		{"pages to the limit", 20, 20, 10, true, 20, false, 2, 1},
		{"pages beyond it", 1000, 15, 10, true, 15, true, 2, 1},
		{"nothing", 0, 3, 10, true, 0, false, 1, 1},
	} {
		t.Run(c.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := directoryOf(c.have, c.polite)
				cl := testClient(t, Config{}, f)
				entries, err := cl.Search(t.Context(), &Search{Scope: ldap.ScopeWholeSubtree, Filter: present, Limit: c.limit, PageSize: c.page})
				if len(entries) != c.want || IsTooMany(err) != c.tooMany || err != nil && !c.tooMany {
					t.Errorf("%d entries, %v", len(entries), err)
				}
				if n := f.count(ldap.ApplicationSearchRequest); n != c.requests {
					t.Errorf("%d requests", n)
				}
				// Whatever is still to come is not taken for the next answer.
				if entries, err := cl.Search(t.Context(), &Search{Filter: present, Limit: 1000}); err != nil || len(entries) != c.have {
					t.Errorf("then %d entries, %v", len(entries), err)
				}
			})
		})
	}
}

func TestAnswerTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		value := strings.Repeat("x", 1<<20)
		f := &fake{answer: func(r *request) bool {
			for i := range 2 * maxAnswer / len(value) {
				r.entry(fmt.Sprint("cn=", i), map[string]string{"cn": value})
			}
			r.done(0, "")
			return true
		}}
		c := testClient(t, Config{}, f)
		if err := search(t, c); !errors.Is(err, errTooLong) || IsAnswer(err) {
			t.Error(err)
		}
	})
}

// Names of other servers in an answer are nobody's business.
func TestReferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(r *request) bool {
			op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultReference, nil, "")
			op.AppendChild(octets("ldap://evil.example/dc=x"))
			r.send(op)
			r.entry("cn=a", nil)
			r.done(0, "")
			return true
		}}
		c := testClient(t, Config{}, f)
		entries, err := c.Search(t.Context(), anything)
		if err != nil || len(entries) != 1 || entries[0].DN != "cn=a" || f.dialled() != 1 {
			t.Error(entries, err, f.dialled())
		}
	})
}

func TestBadFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		c := testClient(t, Config{}, f)
		if _, err := c.Search(t.Context(), &Search{Filter: "(uid=a"}); err == nil || IsAnswer(err) || f.dialled() != 0 {
			t.Error(err, f.dialled())
		}
	})
}

// Nonsense from a server ends the question, not the process.
func TestNonsense(t *testing.T) {
	for name, reply := range map[string]string{
		"no BER":       "\xff\xff\xff\xff",
		"no LDAP":      "0\x03\x02\x01\x01",
		"short":        "0\x84\x7f\xff\xff\xff",
		"odd entry":    "0\x07\x02\x01\x01\x64\x02\x04\x00",
		"empty result": "0\x05\x02\x01\x01\x65\x00",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: func(r *request) bool { r.conn.Write([]byte(reply)); return true }}
				c := testClient(t, Config{}, f)
				if err := search(t, c); err == nil || IsAnswer(err) {
					t.Error(err)
				}
			})
		})
	}
}
