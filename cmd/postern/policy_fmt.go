package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"postern/policy"
)

func policyFormat(c *cli) *cobra.Command {
	var write, check bool
	cmd := &cobra.Command{
		Use:   "fmt FILE…",
		Short: "Write policies in the one way they are written",
		Long: `fmt prints policies, or files that one includes, with the indents, blanks and order of
keys that all of them have. It changes nothing of what they mean, and keeps every comment.
- is standard input.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if write && check {
				return errors.New("-w writes what --check only looks for")
			}
			other, errs := []string{}, []error(nil)
			for _, name := range args {
				differs, err := c.format(name, write, check)
				if differs {
					other = append(other, name)
				}
				errs = append(errs, err)
			}
			if write || check {
				err := c.show(map[string]any{"files": other}, func(w *tabwriter.Writer) {
					for _, name := range other {
						fmt.Fprintln(w, name)
					}
				})
				errs = append(errs, err)
			}
			if check && len(other) > 0 {
				errs = append(errs, fmt.Errorf("%d of %d files are not formatted", len(other), len(args)))
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the files instead of printing them, and print the names of those that changed")
	cmd.Flags().BoolVar(&check, "check", false, "print the names of files that are not formatted, and fail if there are any")
	return cmd
}

// format formats one file. differs says that it was not formatted.
func (c *cli) format(name string, write, check bool) (differs bool, err error) {
	var src []byte
	if name == "-" {
		src, err = io.ReadAll(c.in)
	} else {
		src, err = os.ReadFile(name)
	}
	if err != nil {
		return false, fmt.Errorf("read policy: %w", err)
	}
	out, err := policy.Format(name, src)
	if err != nil {
		return false, err
	}
	differs = !bytes.Equal(src, out)
	switch {
	case check:
	case !write || name == "-":
		_, err = c.out.Write(out)
	case differs:
		err = replace(name, out)
	}
	return differs, err
}

// replace writes a file anew, with the mode it has: whoever reads it at the time reads
// all of the old one or all of the new one.
func replace(name string, text []byte) error {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
