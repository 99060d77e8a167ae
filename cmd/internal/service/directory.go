package service

import (
	"errors"
	"fmt"
	"log/slog"

	"postern/authz/directory"
	"postern/internal/config"
	"postern/internal/seal"
)

// Directory is all realms of a configuration.
type Directory struct {
	*directory.Realms
	files []*directory.File
}

// OpenDirectory opens the realms. Files are read; servers are asked when there is
// something to ask.
func OpenDirectory(cfg *config.Service, ring *seal.Ring, log *slog.Logger) (_ *Directory, err error) {
	d := &Directory{}
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
	for i := range cfg.Realms {
		r := &cfg.Realms[i]
		back, err := d.open(r, ring, log)
		if err != nil {
			return nil, fmt.Errorf("realm %s: %w", r.Name, err)
		}
		before, behind := r.Selectors()
		realms = append(realms, directory.Realm{
			Name: string(r.Name), Directory: back, Before: before, Behind: behind, Default: r.Default, Suffix: r.Suffix(),
		})
	}
	d.Realms, err = directory.NewRealms(realms...)
	return d, err
}

// open opens one realm's directory.
func (d *Directory) open(r *config.Realm, ring *seal.Ring, log *slog.Logger) (directory.Directory, error) {
	switch r.Kind {
	case config.RealmFile:
		return d.file(r.File, ring, log)
	case config.RealmLDAP, config.RealmAD, config.RealmRADIUS, config.RealmUnknown:
	}
	return nil, fmt.Errorf("no directory of kind %s", r.Kind)
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
func (d *Directory) Close() {}
