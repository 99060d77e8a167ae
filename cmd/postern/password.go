package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// passwordFlag is where a password comes from when not from a prompt. It is never an
// argument: those are seen in the process list and stay in the shell's history.
type passwordFlag struct{ file string }

func (p *passwordFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.file, "password-file", "", "read the password from the first line of `FILE` (- is standard input)")
	_ = cmd.MarkFlagFilename("password-file")
}

// maxPasswordFile bounds what is read for a password, ours.
const maxPasswordFile = 64 << 10

// read gets the password: from the file, from a prompt without echo, or from the
// first line of standard input where that is no terminal.
func (p *passwordFlag) read(c *cli, name string) (string, error) {
	switch p.file {
	case "":
		if f, ok := c.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return c.prompt(int(f.Fd()), name)
		}
		return firstLine(c.in)
	case "-":
		return firstLine(c.in)
	}
	f, err := os.Open(p.file)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	defer f.Close()
	return firstLine(f)
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPasswordFile)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read password: %w", err)
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", errors.New("read password: none given")
	}
	return line, nil
}

// prompt asks twice, because what is typed is not seen.
func (c *cli) prompt(fd int, name string) (string, error) {
	ask := func(text string) ([]byte, error) {
		fmt.Fprint(c.errs, text)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(c.errs)
		if err != nil {
			return nil, fmt.Errorf("read password: %w", err)
		}
		return b, nil
	}
	first, err := ask("New password for " + name + ": ")
	if err != nil {
		return "", err
	}
	defer clear(first)
	if len(first) == 0 {
		return "", errors.New("read password: none given")
	}
	second, err := ask("Again: ")
	if err != nil {
		return "", err
	}
	defer clear(second)
	if !bytes.Equal(first, second) {
		return "", errors.New("the passwords differ")
	}
	return string(first), nil
}
