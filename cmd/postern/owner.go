package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// keepOwner notes whose files these are, before root makes or replaces them: their
// owner's, or their directory's where they are not there yet or root's. It returns
// what gives them back, so that the service, which is not root, can read them.
func keepOwner(paths ...string) (restore func() error) {
	if os.Geteuid() != 0 {
		return func() error { return nil }
	}
	owners := make([]owner, len(paths))
	for i, path := range paths {
		owners[i] = ownerOf(path)
	}
	return func() error {
		var errs []error
		for i, path := range paths {
			errs = append(errs, owners[i].give(path))
		}
		return errors.Join(errs...)
	}
}

type owner struct{ uid, gid int }

// ownerOf is root's only where all the way up is root's.
func ownerOf(path string) owner {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err == nil && st.Uid != 0 {
		return owner{int(st.Uid), int(st.Gid)}
	} else if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return owner{}
	}
	up := filepath.Dir(path)
	if up == path {
		return owner{}
	}
	return ownerOf(up)
}

// give hands path over. It is in a directory that is the service's: what the service
// could have put there to get hold of somebody else's file, a link, stays as it is.
func (o owner) give(path string) error {
	if o.uid == 0 {
		return nil
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was made
	}
	if err != nil {
		return fmt.Errorf("keep the owner of %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("keep the owner of %s: %w", path, err)
	}
	file := st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1
	if !file && st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) == o.uid {
		return nil
	}
	if err := unix.Fchownat(fd, "", o.uid, o.gid, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("keep the owner of %s: %w", path, err)
	}
	return nil
}
