package directory

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// AddAll makes accounts, all or none, and replaces the file once: one after the other,
// thousands would read and write it as many times. passwords has one for each.
func (u *Users) AddAll(users []User, passwords []string) error {
	return u.rewrite(func(src []byte, t table) ([]byte, error) {
		var b bytes.Buffer
		b.Write(src)
		if len(src) > 0 && src[len(src)-1] != '\n' {
			b.WriteByte('\n')
		}
		for i, user := range users {
			if err := checkUser(user); err != nil {
				return nil, err
			}
			if t[key(user.Name)] != nil {
				return nil, fmt.Errorf("add user %s: %w", user.Name, ErrExists)
			}
			e := newEntry(user)
			if err := u.setPassword(e, passwords[i]); err != nil {
				return nil, fmt.Errorf("add user %s: %w", user.Name, err)
			}
			t[e.key] = e
			b.WriteString(e.format() + "\n")
		}
		return b.Bytes(), nil
	})
}

// DeleteAll removes those accounts of the names that there are, and says how many
// these were.
func (u *Users) DeleteAll(names []string) (n int, err error) {
	gone := make(map[string]bool, len(names))
	for _, name := range names {
		gone[key(name)] = true
	}
	err = u.rewrite(func(src []byte, _ table) ([]byte, error) {
		lines := bytes.SplitAfter(src, []byte("\n"))
		records, _ := split("", src) // read before without a mistake
		var b bytes.Buffer
		next := 0
		for _, rec := range records {
			if !gone[key(rec.words[0].text)] {
				continue
			}
			b.Write(bytes.Join(lines[next:rec.first-1], nil))
			next = rec.last
			n++
		}
		b.Write(bytes.Join(lines[next:], nil))
		return b.Bytes(), nil
	})
	return n, err
}

// rewrite replaces the file by what edit makes of it.
func (u *Users) rewrite(edit func(src []byte, t table) ([]byte, error)) error {
	unlock, err := lockDir(filepath.Dir(u.Path))
	if err != nil {
		return err
	}
	defer unlock()
	src, err := os.ReadFile(u.Path)
	if errors.Is(err, fs.ErrNotExist) {
		src, err = []byte(usersHead), nil
	}
	if err != nil {
		return err
	}
	t, err := parseUsers(u.Path, src, u.Ring)
	if err != nil {
		return err
	}
	if src, err = edit(src, t); err != nil {
		return err
	}
	return writeFile(u.Path, src)
}
