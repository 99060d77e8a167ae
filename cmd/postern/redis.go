package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

// inDanger is the status of a check that has found a danger.
const inDanger exitStatus = 3

func redisCommand(c *cli) *cobra.Command {
	return group("redis", "Whether Redis is fit to hold the shared state", redisCheck(c), redisACL(c))
}

func redisCheck(c *cli) *cobra.Command {
	var user, passwordFile string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look at all Redis servers and name what is dangerous",
		Long: "Looks at every Redis server that the configuration leads to: version, persistence, eviction, memory, latency, clocks,\n" +
			"replicas, slots, sentinels and what our user may do. The exit status is 3 if there is a danger, 0 if not.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load()
			if err != nil {
				return err
			}
			if cfg.Store.Kind != config.StoreRedis {
				return errors.New("the store is not Redis (store: {kind: redis})")
			}
			conf, err := service.RedisConfig(&cfg.Store)
			if err != nil {
				return err
			}
			var as *store.Asker
			if (user == "") != (passwordFile == "") {
				return errors.New("--user and --password-file go together")
			}
			if user != "" {
				b, err := os.ReadFile(passwordFile)
				if err != nil {
					return fmt.Errorf("read password: %w", err)
				}
				as = &store.Asker{Username: user, Password: strings.TrimRight(string(b), "\r\n")}
			}
			in, err := store.InspectRedis(cmd.Context(), conf, as)
			if err != nil {
				return err
			}
			if err := c.showInspection(in); err != nil {
				return err
			}
			if in.Worst() == store.Danger {
				return inDanger
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "ask the servers as user `NAME`, for what the store's own may not read")
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "that user's password, in `FILE`")
	return cmd
}

func (c *cli) showInspection(in *store.Inspection) error {
	counts := map[store.Level]int{}
	for _, f := range in.Findings {
		counts[f.Level]++
	}
	err := c.show(in, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "SERVER\tROLE\tVERSION\tMEMORY\tANSWERS IN\tCLOCK")
		for _, s := range in.Servers {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%v\t%+.1f ms\n", visible(s.Addr), s.Role, visible(s.Version), octets(uint64(max(s.Memory, 0))), s.Ping, float64(s.Clock.Microseconds())/1000)
		}
		fmt.Fprintln(w)
		fmt.Fprintln(w, "LEVEL\tCHECK\tSERVER\tFOUND")
		for _, f := range in.Findings {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Level, f.Check, orDash(f.Server), visible(f.Text))
			if f.Advice != "" {
				fmt.Fprintf(w, "\t\t\t  → %s\n", visible(f.Advice))
			}
		}
	})
	if err == nil {
		c.hint("%s: %d dangers, %d warnings, %d notes", in.Mode, counts[store.Danger], counts[store.Warning], counts[store.Note])
	}
	return err
}

func redisACL(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "acl",
		Short: "Print the least rights that the store's user needs",
		Long: "Prints the rule of an ACL for the user of the store: what this release calls, no more. After an upgrade it may be\n" +
			"longer; postern redis check says what a user lacks.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			name := "postern"
			if cfg, err := c.load(); err == nil && cfg.Store.User != "" {
				name = cfg.Store.User
			}
			rule := store.ACLRule()
			err := c.say(map[string]string{"user": name, "rule": rule}, "ACL SETUSER %s on >PASSWORD %s", name, rule)
			if err == nil {
				c.hint("Type it in redis-cli, with the password of store.password for PASSWORD, at each server; then ACL SAVE or CONFIG REWRITE.")
			}
			return err
		},
	}
}
