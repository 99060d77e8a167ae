package directory

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// Reseal puts every hash of the file under the ring's current key and returns how
// many were under another. A file that needs no change is not touched.
func (u *Users) Reseal() (n int, err error) {
	if n, err = u.reseal(); err != nil {
		return 0, fmt.Errorf("reseal users: %w", err)
	}
	return n, nil
}

func (u *Users) reseal() (n int, err error) {
	unlock, err := lockDir(filepath.Dir(u.Path))
	if err != nil {
		return 0, err
	}
	defer unlock()
	src, err := os.ReadFile(u.Path)
	if err != nil {
		return 0, err
	}
	t, err := parseUsers(u.Path, src, u.Ring)
	if err != nil {
		return 0, err
	}
	out := bytes.Clone(src)
	for _, e := range t {
		if e.sealed == "" || !u.Ring.Stale(e.sealed) {
			continue
		}
		hash, err := openHash(u.Ring, e.name, e.sealed)
		if err != nil {
			return 0, err
		}
		e.sealed, err = u.Ring.Seal(purpose, e.key, hash[:])
		clear(hash[:])
		if err != nil {
			return 0, err
		}
		out = edited(out, e.name, e)
		n++
	}
	if n == 0 {
		return 0, nil
	}
	return n, writeFile(u.Path, out)
}
