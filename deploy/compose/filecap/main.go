// Command filecap moves a file to a directory and gives it the capabilities of a node
// (capabilities(7)), and makes another directory, which stays empty: what mkdir, mv and
// setcap do in a build stage that has a toolchain and nothing else.
//
//	filecap FILE DIRECTORY EMPTY
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// linux/capability.h: struct vfs_cap_data of revision 2, and the flag that raises the
// permitted capabilities when the file is executed.
const (
	revision2 = 0x02000000
	effective = 0x000001
	words     = 5 // magic, and two times permitted and inheritable
)

// node is what a node needs: routes and nftables, and the raw socket of GRE.
const node = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW

// capData is the attribute's value.
func capData(permitted uint32) []byte {
	b := make([]byte, 0, 4*words)
	for _, w := range [words]uint32{revision2 | effective, permitted, 0, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: filecap FILE DIRECTORY EMPTY")
	}
	for _, dir := range args[1:] {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	file := filepath.Join(args[1], filepath.Base(args[0]))
	if err := os.Rename(args[0], file); err != nil {
		return err
	}
	if err := unix.Setxattr(file, "security.capability", capData(node), 0); err != nil {
		return fmt.Errorf("capabilities of %s: %w", file, err)
	}
	return nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
