package portal

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed templates/*.html
var templateFiles embed.FS

// pages are the templates by name: the layout and the shared pieces with one content
// each.
var pages = parsePages()

func parsePages() map[string]*template.Template {
	base := template.Must(template.New("layout.html").ParseFS(templateFiles, "templates/layout.html", "templates/pieces.html", "templates/factors.html"))
	all := make(map[string]*template.Template)
	entries, err := templateFiles.ReadDir("templates")
	if err != nil {
		panic(err) // they are ours
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		switch name {
		case "layout", "pieces", "factors":
			continue
		}
		t := template.Must(base.Clone())
		all[name] = template.Must(t.ParseFS(templateFiles, "templates/"+e.Name()))
	}
	return all
}

// page is what a template is executed with: the same for all pages, and Data of one.
type page struct {
	v      *visitor
	Title  string
	Back   string // the address of the page itself, by GET, for the choice of a language
	Wrong  []mistake
	Notice string
	Wide   bool
	Data   any
}

// mistake is something that the visitor can put right; Field "": nowhere on the page.
type mistake struct{ Field, Text string }

// T is a text.
func (p *page) T(key string, pairs ...any) string { return p.v.lang.text(key, pairs...) }

// Count is a text for a number.
func (p *page) Count(key string, n int) string { return p.v.lang.count(key, n) }

// Factor is the name of a second factor, as sessions keep it.
func (p *page) Factor(name string) string {
	if _, ok := p.v.lang.texts["factor."+name]; !ok {
		name = "none"
	}
	return p.v.lang.text("factor." + name)
}

// Lang is the page's language, Languages those that can be chosen.
func (p *page) Lang() string { return p.v.lang.tag }

// Languages are the others.
func (p *page) Languages() []languageChoice {
	var all []languageChoice
	for _, l := range p.v.set.choice.offered {
		all = append(all, languageChoice{Tag: l.tag, Name: l.name, Now: l == p.v.lang})
	}
	return all
}

type languageChoice struct {
	Tag, Name string
	Now       bool
}

// Name, Mark and Support are the installation's.
func (p *page) Name() string    { return p.v.set.Name }
func (p *page) Mark() string    { return p.v.set.Mark }
func (p *page) Support() string { return p.v.set.Support }

// CSS and JS are the addresses of what belongs to each page.
func (p *page) CSS() string { return staticURL("portal.css") }
func (p *page) JS() string  { return staticURL("portal.js") }

// Icon is the address of the icon.
func (p *page) Icon() string { return staticURL("icon.svg") }

// User is who is signed in; Member whether with a second factor.
func (p *page) User() string {
	if p.v.session == nil {
		return ""
	}
	return p.v.session.User
}
func (p *page) Member() bool { return p.v.session != nil && p.v.session.Level == levelFull }

// At says whether the page is the one at a path.
func (p *page) At(path string) bool { return p.Back == path }

// Form begins a form: where it goes, and what it must carry.
func (p *page) Form(action string) formData { return formData{action, p.v.token(action)} }

type formData struct{ Action, Token string }

// Problem is what is wrong with a field; "": nothing.
func (p *page) Problem(field string) string {
	for _, m := range p.Wrong {
		if m.Field == field {
			return m.Text
		}
	}
	return ""
}

// Time and Day show a time.
func (p *page) Time(t time.Time) moment {
	return p.moment(t, p.v.lang.time)
}
func (p *page) Day(t time.Time) moment { return p.moment(t, p.v.lang.day) }

func (p *page) moment(t time.Time, text func(time.Time) string) moment {
	if t.IsZero() {
		return moment{}
	}
	return moment{Stamp: t.UTC().Format(time.RFC3339), Text: text(t.In(p.v.set.Location))}
}

// moment is a time in a page. The script writes it as the browser's own clock has it.
type moment struct{ Stamp, Text string }

// Size shows a number of octets.
func (p *page) Size(n uint64) string { return p.v.lang.size(n) }

// Field is an input with all that belongs to it.
func (p *page) Field(id string, attrs ...string) fieldData {
	f := fieldData{ID: id, Label: p.T("field." + id), Problem: p.Problem(id), Type: "text", ProblemWord: p.T("problem.field")}
	for i := 0; i+1 < len(attrs); i += 2 {
		switch attrs[i] {
		case "label":
			f.Label = p.T(attrs[i+1])
		case "hint":
			f.Hint = p.T(attrs[i+1])
		case "type":
			f.Type = attrs[i+1]
		case "complete":
			f.Complete = attrs[i+1]
		case "mode":
			f.Mode = attrs[i+1]
		case "value":
			f.Value = attrs[i+1]
		case "max":
			f.Max = attrs[i+1]
		case "class":
			f.Class = attrs[i+1]
		case "required":
			f.Required = true
		case "focus":
			f.Focus = true
		case "fixed":
			f.Fixed = true
		}
	}
	return f
}

// fieldData is for the template "field".
type fieldData struct {
	ID, Label, Hint, Problem, ProblemWord string
	Type, Complete, Mode, Value, Max      string
	Class                                 string
	Required, Focus, Fixed                bool
}

// Invalid says that the field is to be put right.
func (f fieldData) Invalid() bool { return f.Problem != "" }

// Described names what describes the field.
func (f fieldData) Described() string {
	var ids []string
	if f.Hint != "" {
		ids = append(ids, f.ID+"-hint")
	}
	if f.Problem != "" {
		ids = append(ids, f.ID+"-problem")
	}
	return strings.Join(ids, " ")
}

// show answers with a page.
func (v *visitor) show(status int, name string, p *page) {
	p.v = v
	if p.Back == "" {
		p.Back = v.route.path
	}
	if v.session != nil && v.session.Notice != "" {
		p.Notice, v.session.Notice = v.lang.text(v.session.Notice), ""
		if err := v.save(); err != nil {
			v.s.log.Debug("notice not taken away", "error", err)
		}
	}
	var b bytes.Buffer
	if err := pages[name].Execute(&b, p); err != nil { // may set a cookie, so before the header
		panic(err)
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.lang.tag)
	h.Set("Vary", "Cookie, Accept-Language")
	v.w.WriteHeader(status)
	if v.r.Method != http.MethodHead {
		_, _ = v.w.Write(b.Bytes())
	}
}

// statusOf is of a page that may have mistakes on it.
func statusOf(wrong []mistake) int {
	if len(wrong) > 0 {
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}

// wrong is one mistake in the page's language.
func (v *visitor) wrong(field, key string) mistake { return mistake{field, v.lang.text(key)} }

// problem answers with a page that says what is wrong and leads back.
func (v *visitor) problem(status int, title, text string) {
	if v.route.agent && v.r.Method == http.MethodPost {
		v.problemForAgent(status)
		return
	}
	v.show(status, "problem", &page{Title: v.lang.text(title), Back: "/", Data: v.lang.text(text)})
}

// Codes is for the template "codes": a one-time code or, instead, a recovery code.
func (p *page) Codes(recovery, focus bool) codesData {
	d := codesData{Page: p, Recovery: recovery, Focus: "plain"}
	if focus {
		d.Focus = "focus"
	}
	return d
}

type codesData struct {
	Page     *page
	Recovery bool   // show the field for it
	Focus    string // what to do with the first field
}

// Steps is for the template "steps": where in an enrolment the page stands.
func (p *page) Steps(now int) stepsData {
	return stepsData{p, now, []step{{1, "enrol.step_app"}, {2, "enrol.step_scan"}, {3, "enrol.step_codes"}}}
}

type stepsData struct {
	Page  *page
	Now   int
	Steps []step
}

type step struct {
	N   int
	Key string
}
