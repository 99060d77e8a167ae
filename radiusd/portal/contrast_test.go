package portal

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// rules is a style sheet as far as it is read here: selector → property → value, of
// what stands outside @media and of what a dark page changes.
type rules map[string]map[string]string

var (
	comment    = regexp.MustCompile(`(?s)/\*.*?\*/`)
	declared   = regexp.MustCompile(`([a-z-]+)\s*:\s*([^;]+);`)
	oneRule    = regexp.MustCompile(`([^{}]+)\{([^{}]*)\}`)
	hexColour  = regexp.MustCompile(`#[0-9a-fA-F]+\b`)
	mediaBlock = regexp.MustCompile(`(?s)@media ([^{]+)\{((?:[^{}]+\{[^{}]*\}\s*)*)\}`)
)

func readSheet(t *testing.T) (light, dark rules) {
	t.Helper()
	src, err := staticFiles.ReadFile("static/portal.css")
	if err != nil {
		t.Fatal(err)
	}
	css := comment.ReplaceAllString(string(src), "")
	light, dark = rules{}, rules{}
	light.add(mediaBlock.ReplaceAllString(css, ""))
	dark.add(mediaBlock.ReplaceAllString(css, ""))
	for _, m := range mediaBlock.FindAllStringSubmatch(css, -1) {
		if strings.Contains(m[1], "dark") {
			dark.add(m[2])
		}
	}
	if strings.Contains(mediaBlock.ReplaceAllString(css, ""), "@") {
		t.Fatal("a block that is not read")
	}
	return light, dark
}

func (r rules) add(css string) {
	for _, m := range oneRule.FindAllStringSubmatch(css, -1) {
		for selector := range strings.SplitSeq(m[1], ",") {
			selector = strings.Join(strings.Fields(selector), " ")
			if r[selector] == nil {
				r[selector] = map[string]string{}
			}
			for _, d := range declared.FindAllStringSubmatch(m[2], -1) {
				r[selector][d[1]] = strings.TrimSpace(d[2])
			}
		}
	}
}

// get is the last of the selectors that has the property; a border's colour is its
// shorthand's, too.
func (r rules) get(t *testing.T, property string, selectors ...string) string {
	t.Helper()
	for i := len(selectors) - 1; i >= 0; i-- {
		rule, ok := r[selectors[i]]
		if !ok {
			t.Errorf("no rule %q", selectors[i])
		}
		if v := hexColour.FindString(rule[property]); v != "" {
			return v
		}
		if short, ok := strings.CutSuffix(property, "-color"); ok {
			if v := hexColour.FindString(rule[short]); v != "" {
				return v
			}
		}
	}
	t.Errorf("no %s for %v", property, selectors)
	return "#777777"
}

// luminance is WCAG 2.2's relative luminance.
func luminance(colour string) float64 {
	var l float64
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(colour[1+2*i:3+2*i], 16, 8)
		if err != nil {
			panic(err)
		}
		c := float64(n) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		l += weight * c
	}
	return l
}

func contrast(a, b string) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + .05) / (min(x, y) + .05)
}

func TestContrastFormula(t *testing.T) {
	if c := contrast("#000000", "#ffffff"); math.Abs(c-21) > .001 {
		t.Errorf("black on white is %v", c)
	}
	if c := contrast("#767676", "#ffffff"); c < 4.5 || c > 4.6 {
		t.Errorf("WCAG's own example is %v", c)
	}
}

// What is read has 4.5 : 1 (WCAG 2.2 §1.4.3), what shows where an input, a button or
// the focus is 3 : 1 (§1.4.11), by day and by night.
func TestContrast(t *testing.T) {
	light, dark := readSheet(t)
	body, card := []string{"body"}, []string{".card"}
	text := []struct{ on, what []string }{
		{body, []string{"body"}}, {body, []string{"a"}}, {body, []string{"a:hover"}}, {body, []string{".beside"}}, {body, []string{".beside h2"}},
		{body, []string{".bottom"}}, {body, []string{".languages .link"}}, {body, []string{".languages .link[aria-current]"}}, {body, []string{".steps"}},
		{body, []string{".steps .now"}}, {body, []string{".lead"}}, {body, []string{".facts dt"}},
		{card, []string{"body"}}, {card, []string{"a"}}, {card, []string{"a:hover"}}, {card, []string{".lead"}}, {card, []string{".small"}},
		{card, []string{".field .hint"}}, {card, []string{".field .problem"}}, {card, []string{".link"}}, {card, []string{"details.more summary"}},
		{card, []string{".facts dt"}}, {card, []string{".fact-name"}},
		{[]string{".top"}, []string{".brand"}}, {[]string{".top"}, []string{".brand:hover"}}, {[]string{".top"}, []string{".nav a"}},
		{[]string{".top"}, []string{".nav .link"}}, {[]string{".top"}, []string{".nav a:hover"}}, {[]string{".top"}, []string{".nav a[aria-current]"}},
		{[]string{".mark"}, []string{".mark"}}, {[]string{".skip"}, []string{".skip"}},
		{[]string{".notice"}, []string{".notice"}}, {[]string{".warning"}, []string{".warning"}}, {[]string{".warning"}, []string{".warning a"}},
		{[]string{".summary"}, []string{".summary"}}, {[]string{".summary"}, []string{".summary a"}},
		{[]string{`input[type="text"]`}, []string{`input[type="text"]`}}, {[]string{`input[type="password"]`}, []string{`input[type="password"]`}},
		{[]string{".primary"}, []string{".primary"}}, {[]string{".primary:hover"}, []string{".primary:hover"}},
		{[]string{".secondary"}, []string{".secondary"}}, {[]string{".secondary:hover"}, []string{".secondary:hover"}},
		{[]string{".danger"}, []string{".danger"}}, {[]string{".danger:hover"}, []string{".danger"}},
		{[]string{".danger.solid"}, []string{".danger.solid"}}, {[]string{".danger.solid:hover"}, []string{".danger.solid:hover"}},
		{[]string{".left"}, []string{".left"}}, {[]string{".left.over"}, []string{".left.over"}},
		{[]string{".steps .number"}, []string{".steps .number"}}, {[]string{".steps .now .number"}, []string{".steps .now .number"}},
		{[]string{".steps .past .number"}, []string{".steps .past .number"}},
		{[]string{".codes"}, []string{".codes li"}}, {[]string{".codes"}, []string{".codes code"}}, {[]string{".example"}, []string{"body"}},
		{[]string{".sign"}, []string{".sign"}}, {[]string{".sign.waiting"}, []string{".sign.waiting"}}, {[]string{".sign.late"}, []string{".sign.late"}},
	}
	shapes := []struct {
		on       []string
		property string
		what     []string
	}{
		{card, "border-color", []string{`input[type="text"]`}}, {card, "border-color", []string{`.invalid input[type="text"]`}},
		{card, "border-color", []string{".secondary"}}, {card, "border-color", []string{".danger"}}, {card, "background-color", []string{".primary"}},
		{card, "border-left-color", []string{".field.invalid"}}, {card, "background-color", []string{".danger.solid"}},
		{card, "outline-color", []string{":focus-visible"}}, {body, "outline-color", []string{":focus-visible"}}, {[]string{".top"}, "outline-color", []string{":focus-visible"}},
		{body, "background-color", []string{".steps .now .number"}},
	}
	for name, sheet := range map[string]rules{"light": light, "dark": dark} {
		for _, c := range text {
			bg, fg := sheet.get(t, "background-color", c.on...), sheet.get(t, "color", c.what...)
			if r := contrast(fg, bg); r < 4.5 {
				t.Errorf("%s: %v on %v is %s on %s: %.2f", name, c.what, c.on, fg, bg, r)
			}
		}
		for _, c := range shapes {
			bg, fg := sheet.get(t, "background-color", c.on...), sheet.get(t, c.property, c.what...)
			if r := contrast(fg, bg); r < 3 {
				t.Errorf("%s: %s of %v on %v is %s on %s: %.2f", name, c.property, c.what, c.on, fg, bg, r)
			}
		}
	}
}

// An old browser, without variables, grids and new colours, reads the page as well;
// each colour of the day has one for the night.
func TestSheetIsPlain(t *testing.T) {
	src, err := staticFiles.ReadFile("static/portal.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"var(", "grid", "@import", "url(", "calc(", "oklch", "color-mix", ":has(", "!important"} {
		if strings.Contains(string(src), bad) {
			t.Errorf("%s in the style sheet", bad)
		}
	}
	light, dark := readSheet(t)
	for selector, rule := range light {
		for property, value := range rule {
			if (property == "color" || property == "background-color") && hexColour.MatchString(value) && dark[selector][property] == value {
				t.Errorf("%s has no %s for the night", selector, property)
			}
		}
	}
}
