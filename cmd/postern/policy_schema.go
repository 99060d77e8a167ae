package main

import (
	"github.com/spf13/cobra"

	"postern/policy"
)

func policySchema(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of policies, for editors",
		Long: `schema prints a description of policy files in JSON Schema (draft 2020-12), with which
editors complete words, explain them and underline what cannot be. Editors that use
yaml-language-server (VS Code with the YAML extension, Neovim, Emacs and others) take it
from the first line of a policy:

  postern policy schema > policy.schema.json

  # yaml-language-server: $schema=policy.schema.json
  version: 1

It knows less than check, which remains the judge.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := c.out.Write(policy.Schema())
			return err
		},
	}
}
