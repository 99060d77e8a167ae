package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A policy is one file, or one and those that it names in `include:`, which hold lists,
// pools and filters. Included files include nothing, so that what a policy is made of
// is in one place for all to see.

// File is a file of a policy with its content.
type File struct {
	Name string
	Text []byte
}

// maxIncludes bounds the files of a policy, ours.
const maxIncludes = 32

const (
	expectIncludes = "a list of files beside this one, such as [lists.yaml, sites/munich.yaml]"
	expectInclude  = "the name of a file beside this one or below, at most 255 letters, without .."
)

// Collect reads a policy's file and those that it includes, whose names are relative to
// its place. What is wrong inside the files is not said here but by LoadFiles; of type
// Errors are only includes that read refuses.
func Collect(name string, read func(name string) ([]byte, error)) ([]File, error) {
	text, err := read(name)
	if err != nil {
		return nil, err
	}
	files := []File{{name, text}}
	r := newReader(options{}, newSource(files[0]))
	body := r.parse(text)
	if body == nil || len(r.errs) > 0 {
		return files, nil
	}
	includes := r.includes(body)
	if len(r.errs) > 0 {
		return files, nil
	}
	for _, in := range includes {
		text, err := read(in.name)
		if err != nil {
			r.fail(in.pos, expectInclude, "this file cannot be read: %v", err)
			continue
		}
		files = append(files, File{in.name, text})
	}
	if len(r.errs) > 0 {
		return nil, r.sorted()
	}
	return files, nil
}

// include is one element of `include:`.
type include struct {
	name string // relative to where the first file's name is
	pos  *token.Position
}

// includes reads `include:` of the first file.
func (r *reader) includes(body ast.Node) (all []include) {
	n := valueOf(body, "include")
	if n == nil {
		return nil
	}
	elements, _ := r.sequence(n, expectIncludes)
	if len(elements) > maxIncludes {
		r.fail(position(n), "at most "+strconv.Itoa(maxIncludes)+" files", "%d files", len(elements))
		return nil
	}
	dir, first := path.Dir(r.file), make(map[string]int)
	for _, el := range elements {
		s, ok := r.text(el, expectInclude)
		if !ok {
			continue
		}
		name := path.Join(dir, s)
		line, twice := first[name]
		switch {
		case !validInclude(s):
			r.fail(position(el), expectInclude, "%q cannot name an included file", s)
		case name == path.Clean(r.file):
			r.fail(position(el), expectInclude, "%q is this file", s)
		case twice:
			r.fail(position(el), "", "%q a second time; the first is on line %d", s, line)
		default:
			first[name] = position(el).Line
			all = append(all, include{name, position(el)})
		}
	}
	return all
}

// validInclude is for names that mean the same wherever the policy is kept: beside one
// another on a disk, in a repository, in the store.
func validInclude(s string) bool {
	return len(s) <= 255 && path.Clean(s) == s && s != "." && !path.IsAbs(s) && s != ".." && !strings.HasPrefix(s, "../") &&
		!strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' })
}

// valueOf is the value of a mapping's key, nil when there is none. Unlike mapping it says
// nothing of what else is wrong.
func valueOf(n ast.Node, key string) ast.Node {
	for _, p := range pairsOf(n) {
		if p.Key.GetToken().Value == key {
			return p.Value
		}
	}
	return nil
}

// pairsOf are the keys and values of a mapping, none of what is no mapping.
func pairsOf(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// LoadFiles reads a policy of several files; the first is the one that includes the
// others. The error holds every mistake and is of type Errors.
func LoadFiles(files []File, opts ...Option) (*Policy, error) {
	if len(files) == 0 {
		files = []File{{Name: "policy"}}
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	sources := make([]*source, len(files))
	for i, f := range files {
		sources[i] = newSource(f)
	}
	r := newReader(o, sources...)
	r.files, r.version = cloneFiles(files), version(files)
	size := 0
	for _, f := range files {
		size += len(f.Text)
	}
	switch {
	case len(files) > maxIncludes+1:
		r.fail(nil, "at most "+strconv.Itoa(maxIncludes)+" included files", "%d files", len(files))
	case size > maxSize && len(files) > 1:
		r.fail(nil, "", "files of %d octets together, more than %d", size, maxSize)
	case size > maxSize:
		r.fail(nil, "", "file of %d octets, more than %d", size, maxSize)
	}
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	for _, s := range r.sources {
		r.enter(s)
		s.body = r.parse(s.text)
	}
	r.enter(r.sources[0])
	if len(r.errs) == 0 {
		r.readIncluded()
	}
	if len(r.errs) == 0 {
		r.readFiles()
	}
	if len(r.errs) == 0 && o.tested {
		for _, result := range r.RunTests() {
			if result.Err != nil {
				result.Err.Text = r.lines[result.Err.Line-1]
				r.errs = append(r.errs, result.Err)
			}
		}
	}
	if len(r.errs) > 0 {
		return nil, r.sorted()
	}
	return r.Policy, nil
}

// readIncluded sees to it that the files are those that the first one includes.
func (r *reader) readIncluded() {
	included := r.includes(r.sources[0].body)
	if len(r.errs) > 0 {
		return // Collect followed none of them
	}
	for _, in := range included {
		if !slices.ContainsFunc(r.sources[1:], func(s *source) bool { return s.name == in.name }) {
			r.fail(in.pos, "", "the included file %s is missing", in.name)
		}
	}
	if len(r.errs) > 0 {
		return // nothing can be said of the others
	}
	for i, s := range r.sources[1:] {
		r.enter(s)
		if !slices.ContainsFunc(included, func(in include) bool { return in.name == s.name }) {
			r.fail(nil, "", "%s does not include this file", r.sources[0].name)
		}
		if slices.ContainsFunc(r.sources[1:1+i], func(o *source) bool { return o.name == s.name }) {
			r.fail(nil, "", "this file was given twice")
		}
	}
	r.enter(r.sources[0])
}

// version is the hash of a policy's content. The place of the first file does not count,
// nor its name, and of the others only where they are as the first one sees it.
func version(files []File) string {
	if len(files) == 1 {
		sum := sha256.Sum256(files[0].Text)
		return hex.EncodeToString(sum[:8])
	}
	h := sha256.New()
	part := func(b []byte) {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		_, _ = h.Write(b)
	}
	dir := path.Dir(files[0].Name)
	for i, f := range files {
		name := ""
		if i > 0 {
			name = path.Clean(f.Name)
			if dir != "." {
				name = strings.TrimPrefix(name, strings.TrimSuffix(dir, "/")+"/")
			}
		}
		part([]byte(name))
		part(f.Text)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Files are what the policy was made of, the first one first. They are the caller's.
func (p *Policy) Files() []File { return cloneFiles(p.files) }

func cloneFiles(files []File) []File {
	all := slices.Clone(files)
	for i := range all {
		all[i].Text = slices.Clone(all[i].Text)
	}
	return all
}
