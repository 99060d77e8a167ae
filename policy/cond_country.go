package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// inCountry holds for a client whose address is of one of the countries, or of none that
// is known, which is also where there is no database of them.
type inCountry struct {
	countries countries
	none      bool
}

const expectCountry = "the code of a country such as DE (ISO 3166-1 alpha-2), a list of countries, or none"

func countryValues() values {
	return values{say: "codes of countries (ISO 3166-1 alpha-2)", words: append(slices.Clone(countryCodes), missing), list: countriesList, single: true, several: true}
}

func readCountry(r *reader, n ast.Node) matcher {
	m := inCountry{}
	for _, el := range r.values(n, expectCountry) {
		s, ok := r.country(el, expectCountry)
		switch {
		case !ok:
		case foldString(s) == missing:
			m.none = true
		case m.countries.add(s):
		case len(s) == 2 && r.lists[s] == nil:
			r.failCountry(el, s)
		default:
			if l := r.list(el, s, countriesList); l != nil {
				m.countries.join(&l.countries)
			}
		}
	}
	return m
}

// country reads a code. Norway's is no for those who have learnt YAML 1.1, which is why
// this is not called false.
func (r *reader) country(n ast.Node, expected string) (string, bool) {
	if b, ok := n.(*ast.BoolNode); ok && strings.EqualFold(b.GetToken().Value, "no") {
		return "NO", true
	}
	return r.text(n, expected)
}

// notCodes are what people write instead of a code.
var notCodes = map[string]string{"UK": "GB", "EL": "GR", "EN": "GB", "SU": "RU", "YU": "RS", "UA-43": "UA"}

func (r *reader) failCountry(n ast.Node, s string) {
	hint := ""
	if c := notCodes[strings.ToUpper(s)]; c != "" {
		hint = `, did you mean "` + c + `"?`
	}
	r.fail(position(n), "the code of a country such as DE (ISO 3166-1 alpha-2)", "unknown country %q%s", s, hint)
}

func (m inCountry) match(e *evaluation) bool {
	if e.f.Country == "" {
		return m.none
	}
	return m.countries.has(e.f.Country)
}

func factCountry(f *Facts, _ time.Time) string { return inWords(f.Country) }

// countries is a set of codes: a bit for each pair of letters.
type countries [(26*26 + 63) / 64]uint64

func pair(code string) (int, bool) {
	if len(code) != 2 {
		return 0, false
	}
	a, b := code[0]|0x20, code[1]|0x20
	return int(a-'a')*26 + int(b-'a'), a >= 'a' && a <= 'z' && b >= 'a' && b <= 'z'
}

func (s *countries) has(code string) bool {
	i, ok := pair(code)
	return ok && s[i/64]&(1<<(i%64)) != 0
}

// add takes a code in, if it is a country's.
func (s *countries) add(code string) bool {
	i, ok := pair(code)
	if !ok || !isCountry(code) {
		return false
	}
	s[i/64] |= 1 << (i % 64)
	return true
}

func (s *countries) join(o *countries) {
	for i := range s {
		s[i] |= o[i]
	}
}

func isCountry(code string) bool {
	return len(code) == 2 && slices.Contains(countryCodes, strings.ToUpper(code))
}

// countryCodes are the codes of ISO 3166-1, and XK, which databases have for Kosovo.
var countryCodes = strings.Fields(`AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR
GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP
KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ
NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ
UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW`)
