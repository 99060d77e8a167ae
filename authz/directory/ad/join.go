package ad

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// JoinConfig is what Join needs, beside the Directory's configuration: its domain,
// servers, machine account and TLS.
type JoinConfig struct {
	Config
	File *SecretFile // where the new password goes

	// Admin may create computers, or write to this one: alice@corp.example and a
	// password. Not needed with Password.
	Admin         string
	AdminPassword []byte
	// Password is that of an account which somebody has made already.
	Password []byte

	Container string // DN of where computers are made; "": CN=Computers
	Host      string // our DNS name; "": the machine's in the domain
	TakeOver  bool   // an account of that name which exists already
}

// Joined says what Join did.
type Joined struct {
	Server   string // the domain controller that did it
	DN       string // of the machine account; "" where it was given
	Created  bool
	TookOver bool
}

// Errors of Join that the operator can do something about.
var (
	ErrExists  = errors.New("the machine account exists already: it can be taken over, unless another computer uses it")
	ErrForeign = errors.New("the account is not a member computer's: choose another name")
	ErrNoProof = errors.New("the domain controller does not take the machine account's password")
)

// Join makes us a member of the domain: it creates the machine account or takes it
// over, and keeps its password in File. The password is in File before a domain
// controller has it, so that whatever happens in between, one of the two in the
// file is right.
func Join(ctx context.Context, cfg JoinConfig) (*Joined, error) {
	if err := checkMachine(cfg.Machine); err != nil {
		return nil, err
	}
	password := cfg.Password
	if len(password) == 0 {
		password = newMachinePassword()
		defer clear(password)
	}
	before, err := cfg.File.Load()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	pending := &Secret{Password: password}
	if before != nil {
		defer before.Clear()
		pending = &Secret{Password: before.Password, Pending: password, Old: before.Old, Changed: before.Changed}
	}
	if err := cfg.File.Save(pending); err != nil {
		return nil, err
	}
	done, set, err := cfg.join(ctx, password)
	switch {
	case err != nil && set:
		return nil, fmt.Errorf("%w; the account has its new password, and %s keeps it", err, cfg.File.Path)
	case err != nil && before != nil:
		return nil, errors.Join(err, cfg.File.Save(before))
	case err != nil:
		return nil, errors.Join(err, os.Remove(cfg.File.Path))
	}
	return done, cfg.File.Save(&Secret{Password: password, Changed: cfg.now()})
}

// join says also whether the account may have the password now.
func (cfg *JoinConfig) join(ctx context.Context, password []byte) (done *Joined, set bool, err error) {
	done = new(Joined)
	if len(cfg.Password) == 0 {
		if set, err = cfg.make(ctx, password, done); err != nil {
			return nil, set, err
		}
	}
	done.Server, err = cfg.prove(ctx, done.Server, password)
	return done, set, err
}

func (c *Config) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}
