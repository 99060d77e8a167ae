package ldap

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/internal/ldapc"
	"postern/internal/mschap"
)

// VerifyMSCHAPv2 implements directory.Directory.
func (d *Directory) VerifyMSCHAPv2(ctx context.Context, _ directory.Name, a *directory.Account, r *directory.MSCHAPv2) (directory.Proof, error) {
	hash, known, err := d.hash(ctx, a)
	if err != nil {
		return directory.Proof{}, err
	}
	defer clear(hash[:])
	want := mschap.NTResponse(r.ChallengeHash, &hash)
	right := subtle.ConstantTimeCompare(want[:], r.Response[:]) == 1
	// Made for wrong responses too, so that they take as long as right ones.
	proof := directory.Proof{HashHash: mschap.HashHash(&hash)}
	switch {
	case known == noUser:
		return directory.Proof{}, directory.Rejected{Reason: directory.NoSuchUser}
	case known == noHash:
		return directory.Proof{}, directory.Rejected{Reason: directory.WrongPassword, Detail: "the account has no " + d.cfg.Schema.Hash}
	case !right:
		return directory.Proof{}, directory.Rejected{Reason: directory.WrongPassword}
	}
	return proof, nil
}

// knowledge is what there is to an account.
type knowledge uint8

const (
	noUser knowledge = iota
	noHash
	hashed
)

// hash reads an account's NT hash. Whoever has none gets one that nobody has made,
// after the same question.
func (d *Directory) hash(ctx context.Context, a *directory.Account) (hash [16]byte, k knowledge, err error) {
	s := &d.cfg.Schema
	base, doing := d.cfg.BaseDN, "read the hash of nobody"
	if a != nil {
		base, doing = a.Ref, "read the hash of "+a.Name
	}
	entries, err := d.cfg.Client.Search(ctx, &ldapc.Search{
		Base: base, Scope: ldap.ScopeBaseObject, Filter: anything, Attributes: []string{s.User, s.Hash}, Limit: 1,
	})
	if err != nil && !ldapc.IsNoSuchObject(err) {
		return hash, noUser, directory.Unavailable{Doing: doing, Err: err}
	}
	if a == nil {
		return hash, noUser, nil
	}
	// It was there when it was found.
	if len(entries) == 0 || nameOf(entries[0], s.User) != a.Name {
		d.forget(map[string]bool{a.Name: true})
		return hash, noUser, nil
	}
	written := entries[0].GetEqualFoldRawAttributeValue(s.Hash)
	defer clear(written)
	if len(written) == 0 {
		if err := d.canRead(ctx); err != nil {
			return hash, noUser, directory.Unavailable{Doing: doing, Err: err}
		}
		return hash, noHash, nil
	}
	hash, there, err := parseHash(written, s.Form)
	if err != nil {
		return hash, noUser, directory.Unavailable{Doing: doing, Err: fmt.Errorf("%s: %w", s.Hash, err)}
	}
	d.noteReadable()
	if !there {
		return hash, noHash, nil
	}
	return hash, hashed, nil
}

const anything = "(objectClass=*)"

// readableTime is how long one hash that came proves that we may read hashes, ours.
const readableTime = time.Minute

func (d *Directory) noteReadable() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readable = d.cfg.Now().Add(readableTime)
}

func (d *Directory) knownReadable() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg.Now().Before(d.readable)
}

// canRead says why a hash did not come: a server tells nobody that an attribute is
// kept from him, it leaves it out. So somebody else's is asked for.
func (d *Directory) canRead(ctx context.Context) error {
	if d.knownReadable() {
		return nil
	}
	s := &d.cfg.Schema
	entries, err := d.cfg.Client.Search(ctx, &ldapc.Search{
		Base: d.cfg.BaseDN, Scope: ldap.ScopeWholeSubtree, Filter: "(" + s.Hash + "=*)", Attributes: []string{s.Hash}, Limit: 1,
	})
	if err != nil && !ldapc.IsTooMany(err) {
		return err
	}
	for _, e := range entries {
		written := e.GetEqualFoldRawAttributeValue(s.Hash)
		clear(written)
		if len(written) > 0 {
			d.noteReadable()
			return nil
		}
	}
	return fmt.Errorf("the directory shows us no %s at all: our account may not read it, or no account has one", s.Hash)
}

// VerifyPassword implements directory.Directory: by a bind as the person, which the
// directory counts as it does all others.
func (d *Directory) VerifyPassword(ctx context.Context, _ directory.Name, a *directory.Account, password []byte) (directory.Proof, error) {
	// An empty password would make an anonymous bind, which succeeds (RFC 4513
	// §5.1.2); a NUL may end a password where a crypt(3) compares.
	if len(password) == 0 || bytes.IndexByte(password, 0) >= 0 {
		return directory.Proof{}, directory.Rejected{Reason: directory.WrongPassword, Detail: "no password that a directory could have"}
	}
	dn := d.nobody()
	if a != nil {
		dn = a.Ref
	}
	err := d.cfg.Client.Bind(ctx, dn, password)
	if err != nil {
		err = bindRefused(err)
	}
	if _, no := directory.IsRejected(err); a == nil && (err == nil || no) {
		return directory.Proof{}, directory.Rejected{Reason: directory.NoSuchUser}
	}
	return directory.Proof{}, err
}

// bindRefused is what a failed bind says about the person.
func bindRefused(err error) error {
	r := directory.Rejected{Detail: "bind refused"}
	switch {
	case ldapc.IsInvalidCredentials(err), ldapc.Is(err, ldap.LDAPResultInappropriateAuthentication): // no password there
		r.Reason = directory.WrongPassword
	case ldapc.IsNoSuchObject(err):
		r.Reason = directory.NoSuchUser
	case ldapc.Is(err, ldap.LDAPResultConstraintViolation): // 389: too many tries
		r.Reason, r.State = directory.AccountState, directory.Locked
	case ldapc.Is(err, ldap.LDAPResultUnwillingToPerform): // 389: nsAccountLock
		r.Reason, r.State = directory.AccountState, directory.Disabled
	default:
		return directory.Unavailable{Doing: "verify password", Err: err}
	}
	return r
}
