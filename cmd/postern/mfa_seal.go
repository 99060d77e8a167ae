package main

import (
	"bufio"
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

func mfaSeal(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "seal NAME",
		Short: "Seal a seed that is kept in the directory",
		Long: "Read a seed from standard input, base32 or an otpauth URL, and print it sealed for NAME: the value to put into\n" +
			"the attribute that the realm's totp_attribute names. Nobody else's account opens with it. `postern mfa rekey` does\n" +
			"not reach the directory: the key stays in the key ring for as long as the value counts.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(_ *cobra.Command, args []string) error {
			line, err := bufio.NewReader(c.in).ReadString('\n')
			if line = strings.TrimSpace(line); line == "" {
				return errors.Join(errors.New("no seed on standard input"), err)
			}
			return c.withFactors(func(s *secondFactors) error {
				name, err := s.person(args[0])
				if err != nil {
					return err
				}
				sealed, err := s.SealGiven(name, line)
				if err != nil {
					return err
				}
				return c.say(map[string]any{"user": name, "value": sealed}, "%s", sealed)
			})
		},
	}
}
