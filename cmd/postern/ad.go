package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"postern/authz/directory/ad"
	"postern/cmd/internal/service"
	"postern/internal/config"
)

func adCommand(c *cli) *cobra.Command {
	return group("ad", "Membership of an Active Directory domain", adJoin(c), adRotate(c), adDoctor(c))
}

// domain is a realm of kind ad as the commands need it.
type domain struct {
	service *config.Service
	realm   string
	ad      ad.Config
	file    *ad.SecretFile
}

// domain finds the realm: the one that args name, or the only one there is.
func (c *cli) domain(args []string) (*domain, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	realm, err := pickRealm(cfg, args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.config, err)
	}
	ring, err := service.OpenRing(cfg, false)
	if err != nil {
		return nil, err
	}
	conf, file, err := ad.FromConfig(realm, ring, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("realm %s: %w", realm.Name, err)
	}
	return &domain{cfg, string(realm.Name), conf, file}, nil
}

func pickRealm(cfg *config.Service, args []string) (*config.Realm, error) {
	var found *config.Realm
	for i := range cfg.Realms {
		r := &cfg.Realms[i]
		switch {
		case r.Kind != config.RealmAD:
		case len(args) > 0 && string(r.Name) == args[0]:
			return r, nil
		case len(args) == 0 && found != nil:
			return nil, fmt.Errorf("realms %s and %s are of kind ad: say which one", found.Name, r.Name)
		case len(args) == 0:
			found = r
		}
	}
	switch {
	case len(args) > 0:
		return nil, fmt.Errorf("no realm %q of kind ad", args[0])
	case found == nil:
		return nil, errors.New("no realm of kind ad")
	}
	return found, nil
}

// completeRealm offers the realms of kind ad.
func (c *cli) completeRealm(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if cfg, err := c.load(); err == nil && len(args) == 0 {
		for i := range cfg.Realms {
			if cfg.Realms[i].Kind == config.RealmAD {
				names = append(names, string(cfg.Realms[i].Name))
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// readOnce gets a password that exists already: it is asked for once.
func (p *passwordFlag) readOnce(c *cli, prompt string) ([]byte, error) {
	f, ok := c.in.(*os.File)
	if p.file != "" || !ok || !term.IsTerminal(int(f.Fd())) {
		text, err := p.read(c, "")
		return []byte(text), err
	}
	fmt.Fprint(c.errs, prompt)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(c.errs)
	if err != nil {
		return nil, fmt.Errorf("read password: %w", err)
	}
	if len(b) == 0 {
		return nil, errors.New("read password: none given")
	}
	return b, nil
}

func adRotate(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate [REALM]",
		Short: "Give the machine account a new password",
		Long: "Give the machine account a new password. The service may be running: it takes the new one for the next\n" +
			"connection. A rotation that was interrupted is finished.",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeRealm,
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.domain(args)
			if err != nil {
				return err
			}
			done, err := ad.Rotate(cmd.Context(), d.ad, d.file)
			if err != nil {
				return err
			}
			what := "has a new password"
			if done.Finished {
				what = "has the password of the rotation that was interrupted"
			}
			return c.say(map[string]any{"realm": d.realm, "server": done.Server, "dn": done.DN, "finished": done.Finished, "done": "rotated"},
				"%s %s (at %s)", d.file.Account, what, done.Server)
		},
	}
}

func adDoctor(c *cli) *cobra.Command {
	var members string
	cmd := &cobra.Command{
		Use:   "doctor [REALM]",
		Short: "Look for what is wrong between this host and the domain",
		Long: "Look for what is wrong between this host and the domain, and say what to do: servers, TLS, clocks, the machine\n" +
			"account, whether MS-CHAPv2 is accepted (tried with the configured probe account only), lockout policies, and with\n" +
			"--group who of its members cannot log on. The exit status is 1 when something is bad.",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeRealm,
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.domain(args)
			if err != nil {
				return err
			}
			conf := ad.DoctorConfig{Config: d.ad, Group: members}
			conf.Failures = userLimit(d.service)
			findings, err := ad.Doctor(cmd.Context(), conf)
			if err != nil {
				return err
			}
			return c.showFindings(findings)
		},
	}
	cmd.Flags().StringVar(&members, "group", "", "look at the members of this `GROUP`, by name, SID or DN")
	return cmd
}

// showFindings prints the table; the error makes the exit status.
func (c *cli) showFindings(findings []ad.Finding) error {
	bad := 0
	for _, f := range findings {
		if f.Severity == ad.Bad {
			bad++
		}
	}
	err := c.show(map[string]any{"findings": findings, "bad": bad}, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "\tCHECK\tSUBJECT\tFOUND")
		for _, f := range findings {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Severity, f.Check, f.Subject, f.What)
			if f.Remedy != "" {
				fmt.Fprintf(w, "\t\t\t→ %s\n", f.Remedy)
			}
		}
	})
	if err == nil && bad > 0 {
		err = fmt.Errorf("%d of %d findings are bad", bad, len(findings))
	}
	return err
}
