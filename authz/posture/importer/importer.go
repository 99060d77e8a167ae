// Package importer reads what inventories and MDM export about devices: tables (CSV) and
// JSON. A format says which columns say what; there are some for well-known systems, and
// others are files.
package importer

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"postern/authz/posture"
	"postern/policy"
)

// Bounds of a file, ours.
const (
	maxRows    = 500_000
	maxOctets  = 512 << 20
	maxColumns = 512
	maxValue   = 4096
)

// Row is one device of a file, or why it is none. Rows that are refused end nothing.
type Row struct {
	Number  int // from 1; in a table of its line, where the head is 1
	Record  posture.Record
	Refused error // nil: it is a device
}

// Options say what the file does not.
type Options struct {
	Source string
	Now    time.Time
	// Domain is put behind names without one, alice and CORP\alice; "": they stay bare.
	Domain string
	// Bare takes the domain off every owner's name, as installations without realms have
	// them.
	Bare bool
}

// values is one device as it stands in the file, by the names of its columns in lower case.
type values map[string]string

// Read reads a file and hands on each row. It ends at the first error of yield's, and at
// what makes the rest of the file unreadable.
func Read(r io.Reader, f *Format, o Options, yield func(Row) error) error {
	begin, err := peek(&io.LimitedReader{R: r, N: maxOctets})
	if err != nil {
		return err
	}
	number := 0
	each := func(n int, v values, err error) error {
		if number++; number > maxRows {
			return fmt.Errorf("more than %d rows", maxRows)
		}
		row := Row{Number: n, Refused: err}
		if err == nil {
			row.Record, row.Refused = f.record(v, &o)
		}
		return yield(row)
	}
	if begin.json {
		return readJSON(begin, each)
	}
	return readCSV(begin, each)
}

// record makes a record of a row.
func (f *Format) record(v values, o *Options) (posture.Record, error) {
	r := posture.Record{Source: o.Source, Confidence: policy.Inventory, At: o.Now}
	r.Name = f.get(v, "name")
	if r.Device = f.get(v, "device"); r.Device == "" {
		r.Device, _, _ = strings.Cut(r.Name, ".")
	}
	if !posture.ValidID(r.Device) {
		return r, fmt.Errorf("%q cannot name a device", cut(r.Device))
	}
	for _, name := range strings.FieldsFunc(f.get(v, "owner"), func(c rune) bool { return c == ',' || c == ';' }) {
		if name = o.owner(strings.TrimSpace(name)); name != "" {
			r.Owners = append(r.Owners, name)
		}
	}
	var err error
	if len(f.Fields["seen"]) > 0 {
		if r.At, err = f.time(v, "seen"); err != nil {
			return r, err
		}
		if r.At.IsZero() {
			return r, fmt.Errorf("no %s: nobody knows how old this is", f.Fields["seen"][0])
		}
	}
	x := &r.Facts
	x.OS, x.OSVersion = System(f.get(v, "os"))
	if version := f.get(v, "os_version"); version != "" {
		name, number := System(version)
		if x.OSVersion = number; x.OS == "" {
			x.OS = name
		}
	}
	for field, to := range map[string]*policy.Tri{
		"managed": &x.Managed, "compliant": &x.Compliant, "disk_encrypted": &x.Encrypted, "firewall": &x.Firewall,
		"antivirus": &x.Antivirus, "screen_lock": &x.Lock, "enabled": &x.Enabled,
	} {
		*to = f.answer(field, f.get(v, field))
	}
	for field, to := range map[string]*time.Time{"patched": &x.Patched, "booted": &x.Booted, "last_logon": &x.LastLogon} {
		if *to, err = f.time(v, field); err != nil {
			return r, err
		}
	}
	return r, nil
}

// get is the first column of a field that is not empty.
func (f *Format) get(v values, field string) string {
	for _, column := range f.Fields[field] {
		if s := strings.TrimSpace(v[strings.ToLower(column)]); s != "" {
			return s
		}
	}
	return ""
}

// owner is a user's name as ours are written.
func (o *Options) owner(s string) string {
	if _, account, ok := strings.Cut(s, `\`); ok {
		s = account
	}
	account, domain, _ := strings.Cut(s, "@")
	switch {
	case account == "" || !utf8.ValidString(s):
		return ""
	case o.Bare:
		return account
	case domain == "" && o.Domain != "":
		return account + "@" + o.Domain
	}
	return s
}

// answer is yes or no; another word is that it is not known.
func (f *Format) answer(field, s string) policy.Tri {
	s = strings.ToLower(s)
	for _, w := range f.No[field] {
		if s == strings.ToLower(w) {
			return policy.No
		}
	}
	for _, w := range f.Yes[field] {
		if s == strings.ToLower(w) {
			return policy.Yes
		}
	}
	switch s {
	case "yes", "true", "1", "on", "enabled", "compliant", "encrypted", "managed":
		return policy.Yes
	case "no", "false", "0", "off", "disabled", "noncompliant", "non-compliant", "not compliant", "not encrypted", "notencrypted", "unmanaged":
		return policy.No
	}
	return policy.Unknown
}

// layouts are how times are written; a format may name others first. Where a zone is not
// said it is UTC.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.9999999", "2006-01-02 15:04:05", "2006-01-02T15:04:05.9999999", "2006-01-02 15:04",
	"2006-01-02", "1/2/2006 3:04:05 PM", "1/2/2006 3:04 PM", "1/2/2006 15:04:05",
}

// time reads a time. Some systems write the year 1 for never.
func (f *Format) time(v values, field string) (time.Time, error) {
	s := f.get(v, field)
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range append(f.Times[:len(f.Times):len(f.Times)], layouts...) {
		if t, err := time.Parse(layout, s); err == nil {
			if t.Year() < 1990 {
				return time.Time{}, nil
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s: %q is no time; times: in the format says how they are written", field, cut(s))
}

// System takes the name and the version out of what an inventory calls an operating
// system: "Windows", "Windows 11 Pro 10.0.22631.3155", "Ubuntu 22.04.3 LTS", "10.0.19045".
func System(s string) (name, version string) {
	low := strings.ToLower(s)
	for _, k := range []struct{ word, name string }{
		{"windows", "windows"}, {"macos", "macos"}, {"mac os", "macos"}, {"os x", "macos"}, {"darwin", "macos"},
		{"ipados", "ios"}, {"ios", "ios"}, {"android", "android"}, {"chrome", "chromeos"}, {"linux", "linux"}, {"ubuntu", "linux"},
		{"debian", "linux"}, {"fedora", "linux"}, {"centos", "linux"}, {"red hat", "linux"}, {"rhel", "linux"}, {"suse", "linux"},
	} {
		if strings.Contains(low, k.word) {
			name = k.name
			break
		}
	}
	// Of several numbers the one with most dots: 10.0.22631 of "Windows 11 Pro 10.0.22631".
	dots := -1
	for _, word := range strings.FieldsFunc(s, func(c rune) bool { return c == ' ' || c == '(' || c == ')' || c == ',' }) {
		n := strings.Count(word, ".")
		if n > dots && numbers(word) {
			version, dots = word, n
		}
	}
	return name, version
}

// numbers says whether s is numbers with dots between them.
func numbers(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || len(part) > 9 || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return len(s) <= 64
}

// cut is a value as messages show it.
func cut(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
