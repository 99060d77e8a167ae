package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/mfa"
	"postern/cmd/internal/service"
	"postern/internal/config"
)

// people is a users file and the realm it is of; nil: there are no realms.
type people struct {
	path  string
	realm *config.Realm
}

func (p people) name() string {
	if p.realm == nil {
		return ""
	}
	return string(p.realm.Name)
}

// typed is a name as its owner would type it.
func (p people) typed(user string) string {
	if p.realm == nil || p.realm.Default {
		return user
	}
	before, behind := p.realm.Selectors()
	switch {
	case len(behind) > 0:
		return user + "@" + behind[0]
	case len(before) > 0:
		return before[0] + `\` + user
	}
	return user
}

// selected says whether a name that was typed with a domain is the realm's.
func selected(r *config.Realm, n directory.Name) bool {
	before, behind := r.Selectors()
	names := behind
	if n.Down {
		names = before
	}
	return slices.ContainsFunc(names, func(d string) bool { return strings.EqualFold(d, n.Realm) })
}

// usersFiles are all users files of a configuration.
func usersFiles(cfg *config.Service) []people {
	var all []people
	if cfg.Users != "" {
		all = append(all, people{string(cfg.Users), nil})
	}
	for i := range cfg.Realms {
		if r := &cfg.Realms[i]; r.File.Users != "" {
			all = append(all, people{string(r.File.Users), r})
		}
	}
	return all
}

// usersFile is the users file of the realm that --realm names, or the only one.
func (c *cli) usersFile(cfg *config.Service) (people, error) {
	all := usersFiles(cfg)
	names := make([]string, len(all))
	for i, p := range all {
		if names[i] = p.name(); c.realm != "" && names[i] == c.realm {
			return p, nil
		}
	}
	switch {
	case len(all) == 0:
		return people{}, fmt.Errorf("%s names no users_file; chap-secrets is edited by hand, directories with their own tools", c.config)
	case c.realm != "":
		return people{}, fmt.Errorf("no realm %q with a users file%s", c.realm, thereIs(names))
	case len(all) > 1:
		return people{}, fmt.Errorf("several realms have a users file: --realm must be one of %s", strings.Join(names, ", "))
	}
	return all[0], nil
}

func thereIs(names []string) string {
	if names[0] == "" {
		return ": there are no realms"
	}
	return "; there is: " + strings.Join(names, ", ")
}

// usersFileOf is the users file that a typed name selects as it does at a login, and
// the names it may have there: without what selected the realm or, where there are no
// realms, also without the domain. --realm has the last word.
func (c *cli) usersFileOf(cfg *config.Service, typed string) (people, []string, error) {
	split := mfa.SplitCode(typed, byte(cfg.MFA.Separator))
	n := authz.AskedName(split)
	if split.Code != "" { // no part of a name: who types it is mistaken
		n = directory.Name{User: typed}
	}
	for i := range cfg.Realms {
		r := &cfg.Realms[i]
		if n.Realm == "" && !r.Default || n.Realm != "" && !selected(r, n) {
			continue
		}
		switch {
		case c.realm != "" && c.realm != string(r.Name):
			if n.Realm != "" {
				return people{}, nil, fmt.Errorf("%s is of realm %s, not of %s", typed, r.Name, c.realm)
			}
		case r.File.Users != "":
			return people{string(r.File.Users), r}, []string{n.User}, nil
		case n.Realm != "":
			return people{}, nil, fmt.Errorf("%s is of realm %s, which has no users file", typed, r.Name)
		}
	}
	if n.Realm != "" && c.realm == "" && len(cfg.Realms) > 0 {
		return people{}, nil, fmt.Errorf("%s: no realm has such names", typed)
	}
	names := []string{typed}
	if len(cfg.Realms) == 0 && n.Realm != "" {
		names = append(names, n.User)
	}
	p, err := c.usersFile(cfg)
	return p, names, err
}

// withUsers opens the users file for f.
func (c *cli) withUsers(f func(u *directory.Users) error) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	p, err := c.usersFile(cfg)
	if err != nil {
		return err
	}
	return withFile(cfg, p, f)
}

// withUser opens the users file that a typed name belongs to, for f with the names it
// may have there.
func (c *cli) withUser(typed string, f func(u *directory.Users, names []string) error) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	p, names, err := c.usersFileOf(cfg, typed)
	if err != nil {
		return err
	}
	return withFile(cfg, p, func(u *directory.Users) error { return f(u, names) })
}

// withAccount is withUser for an account that must be there.
func (c *cli) withAccount(typed string, f func(u *directory.Users, name string) error) error {
	return c.withUser(typed, func(u *directory.Users, names []string) error {
		for _, name := range names {
			ok, err := known(u, name)
			if err != nil {
				return err
			}
			if ok {
				return f(u, name)
			}
		}
		return fmt.Errorf("%s: %w", typed, directory.ErrNotFound)
	})
}

func withFile(cfg *config.Service, p people, f func(u *directory.Users) error) error {
	ring, err := service.OpenRing(cfg, false)
	if err != nil {
		return err
	}
	keep := keepOwner(p.path)
	if err := f(&directory.Users{Path: p.path, Ring: ring}); err != nil {
		return err
	}
	return keep()
}

// known finds an account, whatever the case it is typed in.
func known(u *directory.Users, name string) (bool, error) {
	users, err := u.List()
	return slices.ContainsFunc(users, func(x directory.User) bool { return strings.EqualFold(x.Name, name) }), err
}

// completeUser completes names of the users files for the shell.
func (c *cli) completeUser(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	cfg, err := c.load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, p := range usersFiles(cfg) {
		if c.realm != "" && p.name() != c.realm {
			continue
		}
		_ = withFile(cfg, p, func(u *directory.Users) error { // a shell that completes is no place for errors
			users, err := u.List()
			for _, x := range users {
				if name := p.typed(x.Name); strings.HasPrefix(strings.ToLower(name), strings.ToLower(prefix)) {
					names = append(names, name)
				}
			}
			return err
		})
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
