package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"postern/authz/directory"
	"postern/internal/seal"
)

func keyringCommand(c *cli) *cobra.Command {
	return group("keyring", "The keys that seal secrets", keyringCreate(c), keyringRotate(c), keyringReseal(c))
}

// keyRing is the file in args, else the one the service uses.
func (c *cli) keyRing(args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	cfg, err := c.load()
	if err != nil {
		return "", err
	}
	if cfg.KeyRingEnv != "" {
		return "", fmt.Errorf("the key ring is in the environment variable %s: give the FILE that it comes from", cfg.KeyRingEnv)
	}
	return string(cfg.KeyRing), nil
}

func keyringCreate(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "create [FILE]",
		Short: "Make a key ring with one new key, for a new installation",
		Long: "Make a key ring with one new key, mode 0600, where the configuration says or in FILE. A file that is there\n" +
			"is never touched: what is sealed under a key ring opens with nothing else.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := c.keyRing(args)
			if err != nil {
				return err
			}
			keep := keepOwner(path)
			if _, err := seal.CreateFile(path); err != nil {
				return err
			}
			if err := keep(); err != nil {
				return err
			}
			c.hint("Keep a copy of %s apart from the backups of store and users file: together they are all secrets, without it they are none.", path)
			return c.say(map[string]any{"key_ring": path, "done": "created"}, "%s created", path)
		},
	}
}

func keyringRotate(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate [FILE]",
		Short: "Put a new key in front; the keys of before go on opening",
		Long: "Put a new key in front of the key ring. What is sealed from now on is sealed with it; the keys of before stay\n" +
			"in the file and go on opening what they sealed. A service reads its key ring when it starts: copy the file to\n" +
			"all services and restart them before anything new is sealed, then run `postern keyring reseal`.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := c.keyRing(args)
			if err != nil {
				return err
			}
			keep := keepOwner(path)
			if _, err := seal.RotateFile(path); err != nil {
				return err
			}
			if err := keep(); err != nil {
				return err
			}
			c.hint("Copy %s to all services and restart them, then run `postern keyring reseal`. Until then change no password and no token.", path)
			return c.say(map[string]any{"key_ring": path, "done": "rotated"}, "%s has a new key", path)
		},
	}
}

func keyringReseal(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "reseal",
		Short: "Put all secrets under the newest key",
		Long: "Put the passwords of all users files, and everybody's tokens and keys, under the newest key of the key ring. A\n" +
			"machine account's secret is sealed anew by `postern ad rotate`. Only then may an old key leave the file, and only\n" +
			"where nobody's recovery codes are under it any more.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withFactors(func(s *secondFactors) error {
				passwords := 0
				for _, p := range usersFiles(s.cfg) {
					if err := withFile(s.cfg, p, func(u *directory.Users) error {
						n, err := u.Reseal()
						passwords += n
						return err
					}); err != nil {
						return err
					}
				}
				r, err := s.rekey(cmd.Context(), nil)
				if err != nil {
					return err
				}
				r.told(c)
				v := map[string]any{"passwords": passwords, "people_with_tokens": r.Changed, "recovery_codes_of": r.Recovery, "done": "resealed"}
				return c.say(v, "%d passwords, and the tokens and keys of %d people, are under the newest key now", passwords, r.Changed)
			})
		},
	}
}
