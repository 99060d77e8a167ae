package importer

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// source is a file whose first octets have been looked at.
type source struct {
	*bufio.Reader
	limit *io.LimitedReader
	json  bool
}

var (
	errUTF16 = errors.New("this is UTF-16: save it as UTF-8")
	errBig   = fmt.Errorf("more than %d octets", maxOctets)
)

// peek takes a byte order mark off, and tells JSON from a table.
func peek(limit *io.LimitedReader) (*source, error) {
	s := &source{Reader: bufio.NewReaderSize(limit, 1<<16), limit: limit}
	begin, err := s.Peek(512)
	if len(begin) == 0 {
		if errors.Is(err, io.EOF) {
			err = errors.New("an empty file")
		}
		return nil, err
	}
	switch {
	case bytes.HasPrefix(begin, []byte{0xff, 0xfe}), bytes.HasPrefix(begin, []byte{0xfe, 0xff}):
		return nil, errUTF16
	case bytes.HasPrefix(begin, []byte("\ufeff")):
		if _, err := s.Discard(3); err != nil {
			return nil, err
		}
		begin = begin[3:]
	}
	begin = bytes.TrimLeft(begin, " \t\r\n")
	s.json = len(begin) > 0 && (begin[0] == '{' || begin[0] == '[')
	return s, nil
}

// whole says that a file did not end where it was cut.
func (s *source) whole(err error) error {
	if s.limit.N <= 0 {
		return errBig
	}
	return err
}

// readCSV reads a table with a head; a semicolon or a tab may stand for the comma.
func readCSV(s *source, each func(int, values, error) error) error {
	begin, _ := s.Peek(s.Size()) // what there is
	line, _, _ := bytes.Cut(begin, []byte("\n"))
	r := csv.NewReader(s)
	r.LazyQuotes, r.FieldsPerRecord, r.ReuseRecord = true, -1, true
	for _, comma := range []rune{';', '\t'} {
		if bytes.Count(line, []byte(string(comma))) > bytes.Count(line, []byte(",")) {
			r.Comma = comma
		}
	}
	var head []string
	for {
		fields, err := r.Read()
		switch {
		case err == io.EOF:
			if head == nil {
				return s.whole(errors.New("a table without a head"))
			}
			return s.whole(nil)
		case err != nil:
			return s.whole(fmt.Errorf("not a table: %w", err))
		case head == nil:
			if len(fields) > maxColumns {
				return fmt.Errorf("%d columns", len(fields))
			}
			for _, f := range fields {
				head = append(head, strings.ToLower(strings.TrimSpace(text(f))))
			}
			continue
		}
		n, _ := r.FieldPos(0)
		v := make(values, len(head))
		var wrong error
		for i, f := range fields {
			switch {
			case i >= len(head):
				wrong = fmt.Errorf("%d fields below %d columns", len(fields), len(head))
			case len(f) > maxValue:
				wrong = fmt.Errorf("%s: a value of %d octets", head[i], len(f))
			case v[head[i]] == "":
				v[head[i]] = text(f)
			}
		}
		if err := each(n, v, wrong); err != nil {
			return err
		}
	}
}

// text is a value as UTF-8: exports of older systems are in Latin-1.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteRune(rune(c))
	}
	return b.String()
}

// readJSON reads a list of objects; one inside an object, under value (Graph), hosts
// (Fleet), devices or records; or objects one after another.
func readJSON(s *source, each func(int, values, error) error) error {
	d := json.NewDecoder(s)
	d.UseNumber()
	n := 0
	one := func(raw json.RawMessage) error {
		n++
		v := values{}
		err := flatten(v, "", raw, 0)
		return each(n, v, err)
	}
	for {
		if list, err := opens(s, d); err != nil || list {
			if err != nil {
				return s.whole(err)
			}
			for d.More() {
				var raw json.RawMessage
				if err := d.Decode(&raw); err != nil {
					return s.whole(fmt.Errorf("not JSON: %w", err))
				}
				if err := one(raw); err != nil {
					return err
				}
			}
			if _, err := d.Token(); err != nil {
				return s.whole(fmt.Errorf("not JSON: %w", err))
			}
			return s.whole(nil)
		}
		var raw json.RawMessage
		switch err := d.Decode(&raw); {
		case err == io.EOF:
			return s.whole(nil)
		case err != nil:
			return s.whole(fmt.Errorf("not JSON: %w", err))
		}
		if list := inside(raw); list != nil {
			for _, r := range list {
				if err := one(r); err != nil {
					return err
				}
			}
			continue
		}
		if err := one(raw); err != nil {
			return err
		}
	}
}

// opens says whether the file is a list, and steps into it. Only its beginning can be one.
func opens(s *source, d *json.Decoder) (bool, error) {
	if d.InputOffset() > 0 {
		return false, nil
	}
	begin, _ := s.Peek(512)
	if begin = bytes.TrimLeft(begin, " \t\r\n"); len(begin) == 0 || begin[0] != '[' {
		return false, nil
	}
	_, err := d.Token()
	return true, err
}

// inside is the list in an object; nil: there is none.
func inside(raw json.RawMessage) []json.RawMessage {
	var o map[string]json.RawMessage
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	for _, name := range []string{"value", "hosts", "devices", "records"} {
		var list []json.RawMessage
		if o[name] != nil && json.Unmarshal(o[name], &list) == nil && list != nil {
			return list
		}
	}
	return nil
}

// flatten takes an object apart: {"mdm": {"status": "on"}} is mdm.status. Of lists the
// texts are joined, or what their objects call email.
func flatten(v values, name string, raw json.RawMessage, depth int) error {
	if depth > 4 || len(v) > maxColumns {
		return nil // nothing that a format could name
	}
	var x any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&x); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	switch x := x.(type) {
	case map[string]any:
		var o map[string]json.RawMessage
		if err := json.Unmarshal(raw, &o); err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
		for key, inner := range o {
			if name != "" {
				key = name + "." + key
			}
			if err := flatten(v, key, inner, depth+1); err != nil {
				return err
			}
		}
		return nil
	case []any:
		var texts []string
		for _, e := range x {
			if o, ok := e.(map[string]any); ok {
				e = o["email"]
			}
			if s, ok := e.(string); ok {
				texts = append(texts, s)
			}
		}
		return put(v, name, strings.Join(texts, ","))
	case string:
		return put(v, name, x)
	case json.Number:
		return put(v, name, x.String())
	case bool:
		return put(v, name, strconv.FormatBool(x))
	}
	if name == "" {
		return errors.New("not an object")
	}
	return nil
}

func put(v values, name, s string) error {
	switch {
	case name == "":
		return errors.New("not an object")
	case len(s) > maxValue:
		return fmt.Errorf("%s: a value of %d octets", cut(name), len(s))
	}
	v[strings.ToLower(name)] = s
	return nil
}
