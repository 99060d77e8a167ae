package service

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"postern/authz/directory"
	"postern/authz/directory/ad"
	"postern/authz/directory/ldap"
	"postern/authz/directory/proxy"
	"postern/cmd/internal/peers"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/seal"
)

// Directory is all realms of a configuration.
type Directory struct {
	*directory.Realms
	files   []*directory.File
	domains map[string]*ad.Directory // by realm
	close   []func()
}

// OpenDirectory opens the realms. Files are read; servers are asked when there is
// something to ask.
func OpenDirectory(cfg *config.Service, ring *seal.Ring, log *slog.Logger) (_ *Directory, err error) {
	d := &Directory{domains: make(map[string]*ad.Directory)}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if len(cfg.Realms) == 0 {
		f, err := d.file(config.FileRealm{Users: cfg.Users, ChapSecrets: cfg.ChapSecrets, ChapSecretsServer: cfg.ChapSecretsServer}, ring, log)
		if err != nil {
			return nil, err
		}
		// One directory has the names of every domain, as pppd would have it.
		d.Realms, err = directory.NewRealms(directory.Realm{Directory: f, Default: true, Any: true})
		return d, err
	}
	var realms []directory.Realm
	backs := make(map[config.Name]directory.Directory)
	// Realms whose people are another realm's are opened behind it.
	order := slices.Clone(cfg.Realms)
	slices.SortStableFunc(order, func(a, b config.Realm) int {
		return strings.Compare(string(a.RADIUS.GroupsFrom), string(b.RADIUS.GroupsFrom))
	})
	for i := range order {
		r := &order[i]
		back, err := d.open(cfg, r, ring, log, backs[r.RADIUS.GroupsFrom])
		if err != nil {
			return nil, fmt.Errorf("realm %s: %w", r.Name, err)
		}
		backs[r.Name] = back
		before, behind := r.Selectors()
		realms = append(realms, directory.Realm{
			Name: string(r.Name), Directory: back, Before: before, Behind: behind, Default: r.Default, Suffix: r.Suffix(),
		})
	}
	d.Realms, err = directory.NewRealms(realms...)
	return d, err
}

// open opens one realm's directory. People is where a RADIUS server's people are
// looked up; nil: nowhere.
func (d *Directory) open(cfg *config.Service, r *config.Realm, ring *seal.Ring, log *slog.Logger, people directory.Directory) (directory.Directory, error) {
	switch r.Kind {
	case config.RealmFile:
		return d.file(r.File, ring, log)
	case config.RealmLDAP:
		c, err := ldap.FromConfig(r, log)
		if err != nil {
			return nil, err
		}
		l, err := ldap.New(c)
		if err != nil {
			return nil, err
		}
		d.close = append(d.close, l.Close)
		return l, nil
	case config.RealmAD:
		c, _, err := ad.FromConfig(r, ring, log)
		if err != nil {
			return nil, err
		}
		domain, err := ad.New(c)
		if err != nil {
			return nil, err
		}
		d.domains[string(r.Name)], d.close = domain, append(d.close, domain.Close)
		return domain, nil
	case config.RealmRADIUS:
		return d.upstream(cfg, r, log, people)
	case config.RealmUnknown:
	}
	return nil, fmt.Errorf("no directory of kind %s", r.Kind)
}

// keepsSeeds says whether any of the directories has seeds for one-time codes.
func keepsSeeds(cfg *config.Service) bool {
	return slices.ContainsFunc(cfg.Realms, func(r config.Realm) bool { return r.LDAP.TOTP != "" || r.AD.TOTP != "" })
}

// upstream opens a realm whose passwords another RADIUS server decides.
func (d *Directory) upstream(cfg *config.Service, r *config.Realm, log *slog.Logger, people directory.Directory) (directory.Directory, error) {
	u := &r.RADIUS
	rc := radius.ClientConfig{Name: string(cfg.Node), Timeout: u.Timeout, Retries: u.Retries, DeadTime: u.DeadTime, Log: log}
	var err error
	if rc.Servers, rc.AllowMSCHAPOverUDP, err = peers.Servers(u.Servers, config.Identity{}); err != nil {
		return nil, err
	}
	client, err := radius.NewClient(rc)
	if err != nil {
		return nil, err
	}
	d.close = append(d.close, client.Close)
	return proxy.New(proxy.Config{
		Upstream: client, NAS: string(cfg.Node), AsMSCHAPv1: asMSCHAPv1[u.AsMSCHAPv1],
		Groups: groupAttributes[u.Groups], GroupPrefix: u.GroupPrefix, People: people,
	})
}

var asMSCHAPv1 = map[config.AsMSCHAPv1]proxy.AsMSCHAPv1{
	config.AsMSCHAPv1Never: proxy.AsMSCHAPv1Never, config.AsMSCHAPv1WithCode: proxy.AsMSCHAPv1WithCode,
	config.AsMSCHAPv1Always: proxy.AsMSCHAPv1Always,
}

var groupAttributes = map[config.GroupAttribute]proxy.GroupAttribute{
	config.GroupsClass: proxy.GroupsClass, config.GroupsFilterID: proxy.GroupsFilterID, config.GroupsNone: proxy.GroupsNone,
}

func (d *Directory) file(r config.FileRealm, ring *seal.Ring, log *slog.Logger) (*directory.File, error) {
	f, err := directory.OpenFile(directory.FileConfig{
		Users: string(r.Users), ChapSecrets: string(r.ChapSecrets), Server: r.ChapSecretsServer, Ring: ring, Log: log,
	})
	if err == nil {
		d.files = append(d.files, f)
	}
	return f, err
}

// Reload reads the files again. After an error the accounts of before stay.
func (d *Directory) Reload() error {
	var errs []error
	for _, f := range d.files {
		errs = append(errs, f.Reload())
	}
	return errors.Join(errs...)
}

// Len counts the accounts of files.
func (d *Directory) Len() int {
	n := 0
	for _, f := range d.files {
		n += f.Len()
	}
	return n
}

// Close lets go of the servers.
func (d *Directory) Close() {
	for _, c := range d.close {
		c()
	}
	d.close = nil
}
