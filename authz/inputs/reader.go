package inputs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"postern/policy"
)

// skew is how far a record's moment may be beside the day of its file: services' clocks,
// and the store's, differ.
const skew = time.Hour

// readSize is how much of a file is read at once.
const readSize = 256 << 10

// Reader reads the records of several directories in the order of time, as far as each
// directory has them in it. It is not safe for concurrent use.
type Reader struct {
	since, until time.Time
	parser       *parser
	dirs         []*directory
	given        *directory // whose record was returned last
	done, total  int64
	damaged      int
}

// directory is one service's records.
type directory struct {
	days []day // to come
	file *os.File
	buf  []byte // read and not parsed yet: buf[at:]
	at   int
	end  bool // of the file

	// terms of rules, from the first record of each in the file: policy, rule.
	terms map[[2]string][]policy.Term
	rec   Record
	have  bool // rec is the next of this directory
}

// Open opens directories for records of at least since and before until; zero: all.
// Files that are written to meanwhile are read up to where they end by then.
func Open(since, until time.Time, dirs ...string) (*Reader, error) {
	r := &Reader{since: since, until: until, parser: newParser()}
	for _, name := range dirs {
		days, err := daysOf(name)
		if err != nil {
			return nil, fmt.Errorf("read inputs: %w", err)
		}
		days = slices.DeleteFunc(days, func(d day) bool {
			return !since.IsZero() && d.begins.Add(24*time.Hour+skew).Before(since) || !until.IsZero() && d.begins.Add(-skew).After(until)
		})
		for _, d := range days {
			r.total += d.size
		}
		r.dirs = append(r.dirs, &directory{days: days})
	}
	return r, nil
}

// Next returns the next record, or io.EOF. It is good until Next is called again; its
// lists are shared and must not be written to.
func (r *Reader) Next() (*Record, error) {
	if r.given != nil {
		r.given.have = false
	}
	var first *directory
	for _, d := range r.dirs {
		if !d.have {
			if err := r.advance(d); err != nil {
				return nil, err
			}
		}
		if d.have && (first == nil || d.rec.At.Before(first.rec.At)) {
			first = d
		}
	}
	if r.given = first; first == nil {
		return nil, io.EOF
	}
	return &first.rec, nil
}

// Progress says how many octets of how many have been read.
func (r *Reader) Progress() (done, total int64) { return r.done, r.total }

// Damaged is how many places were passed over that are no records.
func (r *Reader) Damaged() int { return r.damaged }

// Close closes what is open.
func (r *Reader) Close() {
	for _, d := range r.dirs {
		d.close()
		d.days = nil
	}
}

func (d *directory) close() {
	if d.file != nil {
		_ = d.file.Close() // it was only read
		d.file = nil
	}
}

// advance reads a directory's next record.
func (r *Reader) advance(d *directory) error {
	for {
		fields, err := r.next(d)
		if err != nil || fields == nil {
			return err
		}
		d.rec = Record{}
		if r.parser.record(fields, &d.rec) != nil {
			r.damaged++
			continue
		}
		d.remember()
		if !r.since.IsZero() && d.rec.At.Before(r.since) || !r.until.IsZero() && !d.rec.At.Before(r.until) {
			continue
		}
		d.have = true
		return nil
	}
}

// remember gives a record its rule's terms.
func (d *directory) remember() {
	if !d.rec.Asked || d.rec.Outcome != policy.Permit {
		return
	}
	rule := [2]string{d.rec.Policy, d.rec.Rule}
	if d.rec.Terms != nil {
		d.terms[rule] = d.rec.Terms
		return
	}
	d.rec.Terms = d.terms[rule]
}

// next returns the next frame's fields; nil: there is none.
func (r *Reader) next(d *directory) ([]byte, error) {
	lost := false // in what is no frame
	for {
		if d.file == nil {
			if len(d.days) == 0 {
				return nil, nil
			}
			f, err := os.Open(d.days[0].path)
			d.days = d.days[1:]
			if errors.Is(err, os.ErrNotExist) {
				continue // too old by now
			}
			if err != nil {
				return nil, fmt.Errorf("read inputs: %w", err)
			}
			d.file, d.buf, d.at, d.end = f, d.buf[:0], 0, false
			d.terms = make(map[[2]string][]policy.Term)
		}
		fields, n, err := frame(d.buf[d.at:])
		switch {
		case err == nil:
			d.at += n
			return fields, nil
		case errors.Is(err, ErrShort) && !d.end:
			if err := r.fill(d); err != nil {
				return nil, err
			}
			continue
		case len(d.buf) == d.at:
			d.close()
			lost = false
			continue
		}
		if !lost {
			r.damaged++
			lost = true
		}
		// Not a frame, or one that was cut off: go on where the next may begin.
		d.at++
		if i := bytes.IndexByte(d.buf[d.at:], frameMark); i >= 0 {
			d.at += i
		} else {
			d.at = len(d.buf)
		}
	}
}

// fill reads more of the file.
func (r *Reader) fill(d *directory) error {
	if d.at > 0 {
		d.buf = d.buf[:copy(d.buf, d.buf[d.at:])]
		d.at = 0
	}
	d.buf = slices.Grow(d.buf, readSize)
	n, err := d.file.Read(d.buf[len(d.buf):cap(d.buf)])
	d.buf = d.buf[:len(d.buf)+n]
	r.done += int64(n)
	if errors.Is(err, io.EOF) {
		d.end = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read inputs: %w", err)
	}
	return nil
}

// Find returns the records of a decision in the order of time: the login, and what was
// decided later of its session. from is when the login was.
func Find(id string, from time.Time, dirs ...string) ([]Record, error) {
	r, err := Open(from.Add(-skew), time.Time{}, dirs...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var found []Record
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		if rec.Decision == id {
			found = append(found, *rec)
		}
	}
}
