package ad

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"postern/authz/directory"
	"postern/authz/directory/netlogon"
)

// nobody is asked for in place of names that belong to no account, so that they
// cost as much. No account can have the name: a colon is forbidden in one
// ([MS-SAMR] §3.1.1.6). The name as typed might be a computer's or that of somebody
// outside our base, to whom failures would be counted.
const nobody = "postern:nobody"

// VerifyMSCHAPv2 implements directory.Directory.
func (d *Directory) VerifyMSCHAPv2(ctx context.Context, _ directory.Name, a *directory.Account, r *directory.MSCHAPv2) (directory.Proof, error) {
	req := &netlogon.Request{
		Domain: d.cfg.NetBIOS, User: nobody, ChallengeHash: r.ChallengeHash, Response: r.Response,
	}
	if a != nil {
		req.User = a.Name
	}
	var got *netlogon.Logon
	err := d.withLogon(ctx, func(ctx context.Context, c *dc) (err error) {
		if err := d.trusted(ctx, c, req.User); err != nil {
			return err
		}
		got, err = d.logon(ctx, c, req)
		d.settle(c, a, err)
		return err
	})
	defer got.Wipe()
	switch {
	case err != nil:
		return directory.Proof{}, answer("verify response", err)
	case a == nil:
		return directory.Proof{}, directory.Rejected{Reason: directory.NoSuchUser}
	case got.SID != a.SID:
		// The account was deleted, and another has its name.
		d.Forget(a.Name)
		return directory.Proof{}, directory.Unavailable{Doing: "verify response", Err: fmt.Errorf("found %s, verified %s", a.SID, got.SID)}
	}
	return directory.Proof{HashHash: got.HashHash, Groups: d.more(a.Groups, got.Groups)}, nil
}

// more returns the groups of a logon that are not among those known, with their
// names as far as they are at hand.
func (d *Directory) more(known, logon []string) []string {
	var sids []sid
	for _, text := range logon {
		if s, err := sidOf(text); err == nil && !slices.Contains(known, text) {
			sids = append(sids, s)
		}
	}
	if len(sids) == 0 {
		return nil
	}
	found, _ := d.names.find(d.cfg.Now(), sids)
	return withNames(sids, found)
}

// answer is a question's error as everybody else may see it: the directory's no, or
// none.
func answer(doing string, err error) error {
	var rejected *netlogon.Rejected
	if errors.As(err, &rejected) {
		return refused(rejected.Status)
	}
	return directory.Unavailable{Doing: doing, Err: err}
}
