package main

import (
	"github.com/spf13/cobra"

	"postern/internal/seal"
)

func keyringCommand(c *cli) *cobra.Command {
	return group("keyring", "The keys that seal secrets", keyringCreate(c))
}

func keyringCreate(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "create [FILE]",
		Short: "Make a key ring with one new key, for a new installation",
		Long: "Make a key ring with one new key, mode 0600, where the configuration says or in FILE. A file that is there\n" +
			"is never touched: what is sealed under a key ring opens with nothing else.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var path string
			if len(args) == 1 {
				path = args[0]
			} else {
				cfg, err := c.load()
				if err != nil {
					return err
				}
				path = string(cfg.KeyRing)
			}
			if _, err := seal.CreateFile(path); err != nil {
				return err
			}
			if err := keepOwner(path); err != nil {
				return err
			}
			c.hint("Keep a copy of %s apart from the backups of store and users file: together they are all secrets, without it they are none.", path)
			return c.say(map[string]any{"key_ring": path, "done": "created"}, "%s created", path)
		},
	}
}
