package portal

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// One file for each language, named by its tag (RFC 5646): another file is another
// language.
//
//go:embed texts/*.yaml
var textFiles embed.FS

// language is the texts of one language.
type language struct {
	tag   string
	name  string // in itself
	texts map[string]string
}

// languages are all there are, by tag.
var languages = mustLoadTexts(textFiles)

func mustLoadTexts(files fs.FS) map[string]*language {
	all, err := loadTexts(files)
	if err != nil {
		panic("portal: " + err.Error()) // the files are ours
	}
	return all
}

// loadTexts reads all languages; they must have the same keys.
func loadTexts(files fs.FS) (map[string]*language, error) {
	names, err := fs.Glob(files, "texts/*.yaml")
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("no texts: %w", err)
	}
	all := make(map[string]*language, len(names))
	for _, name := range names {
		src, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		l := &language{tag: strings.TrimSuffix(path.Base(name), ".yaml")}
		if err := yaml.Unmarshal(src, &l.texts); err != nil {
			return nil, fmt.Errorf("texts %s: %w", l.tag, err)
		}
		l.name = l.texts["language.name"]
		all[l.tag] = l
	}
	var errs []error
	for _, a := range all {
		for _, b := range all {
			for key := range a.texts {
				if b.texts[key] == "" {
					errs = append(errs, fmt.Errorf("texts %s: no %q", b.tag, key))
				}
			}
		}
	}
	return all, errors.Join(errs...)
}

// text returns the text of a key, its places filled: pairs are name and value. A key
// that is not there is a fault that ends the page, and that a test finds.
func (l *language) text(key string, pairs ...any) string {
	t, ok := l.texts[key]
	if !ok {
		panic(fmt.Sprintf("portal: no text %q", key))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		t = strings.ReplaceAll(t, fmt.Sprintf("{%v}", pairs[i]), fmt.Sprint(pairs[i+1]))
	}
	return t
}

// count returns the text for a number.
func (l *language) count(key string, n int) string {
	if n == 1 {
		return l.text(key + ".one")
	}
	return l.text(key+".other", "n", n)
}

// size writes a number of octets as people read it.
func (l *language) size(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	v, u := float64(n), 0
	for v >= 999.5 && u < len(units)-1 {
		v, u = v/1000, u+1
	}
	digits := 0
	if u > 0 && v < 99.5 {
		digits = 1
	}
	return strings.Replace(fmt.Sprintf("%.*f %s", digits, v, units[u]), ".", l.text("format.decimal"), 1)
}

func (l *language) time(t time.Time) string { return t.Format(l.text("format.time")) }
func (l *language) day(t time.Time) string  { return t.Format(l.text("format.day")) }

// choice is the languages that an installation offers.
type choice struct {
	offered  []*language // sorted by tag
	fallback *language
}

// newChoice picks from all there are; no tags: all.
func newChoice(tags []string, fallback string) (choice, error) {
	var c choice
	for tag, l := range languages {
		if len(tags) == 0 || slices.Contains(tags, tag) {
			c.offered = append(c.offered, l)
		}
	}
	slices.SortFunc(c.offered, func(a, b *language) int { return strings.Compare(a.tag, b.tag) })
	for _, tag := range tags {
		if languages[tag] == nil {
			return c, fmt.Errorf("portal: language %q: there are no texts", tag)
		}
	}
	if c.fallback = c.find(fallback); c.fallback == nil {
		return c, fmt.Errorf("portal: default language %q is not offered", fallback)
	}
	return c, nil
}

// find returns the language that fits a tag best: itself, or its primary language.
func (c choice) find(tag string) *language {
	for _, l := range c.offered {
		if strings.EqualFold(l.tag, tag) {
			return l
		}
	}
	primary, _, _ := strings.Cut(tag, "-")
	for _, l := range c.offered {
		if p, _, _ := strings.Cut(l.tag, "-"); strings.EqualFold(p, primary) {
			return l
		}
	}
	return nil
}

// negotiate is the language for a browser (RFC 9110 §12.5.4).
func (c choice) negotiate(accept string) *language {
	for _, tag := range parseAcceptLanguage(accept) {
		if tag == "*" {
			break
		}
		if l := c.find(tag); l != nil {
			return l
		}
	}
	return c.fallback
}
