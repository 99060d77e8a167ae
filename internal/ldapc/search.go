package ldapc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Entry is what a search finds.
type Entry = ldap.Entry

// Search is a question.
type Search struct {
	Base       string
	Scope      int    // ldap.ScopeBaseObject, …
	Filter     string // made with Equal, And and Or where anything in it is not ours
	Attributes []string
	Limit      int // entries at most; 0: 10000
	PageSize   int // entries in a page (RFC 2696); 0: all in one
}

const (
	present      = "(objectClass=*)"
	noAttributes = "1.1" // RFC 4511 §4.5.1.8
)

// Search asks one server after the other. More entries than the limit, ours or the
// server's, are the first of them and an error that IsTooMany.
func (c *Client) Search(ctx context.Context, s *Search) ([]*Entry, error) {
	// Before anybody is asked: no server is to blame.
	if _, err := ldap.CompileFilter(s.Filter); err != nil {
		return nil, fmt.Errorf("search: filter: %w", err)
	}
	var entries []*Entry
	err := c.do(ctx, "search "+s.Base, func(ctx context.Context, p *pool) (err error) {
		entries, err = p.search(ctx, s)
		return err
	})
	return entries, err
}

// RootDSE reads a server's description of itself (RFC 4512 §5.1).
func (c *Client) RootDSE(ctx context.Context) (*Entry, error) {
	var entry *Entry
	err := c.do(ctx, "read the root DSE", func(ctx context.Context, p *pool) error {
		entries, err := p.search(ctx, rootDSE)
		if err == nil {
			entry, err = one(entries)
		}
		return err
	})
	return entry, err
}

var rootDSE = &Search{Scope: ldap.ScopeBaseObject, Filter: present, Attributes: []string{"*", "+"}, Limit: 1}

func one(entries []*Entry) (*Entry, error) {
	if len(entries) != 1 {
		return nil, &ldap.Error{ResultCode: ldap.LDAPResultNoSuchObject, Err: errors.New("the server hides its root DSE")}
	}
	return entries[0], nil
}

// search asks the server. A connection that was used before may have ended without
// our noticing, when the server was restarted: then a new one is tried.
func (p *pool) search(ctx context.Context, s *Search) ([]*Entry, error) {
	for fresh := false; ; fresh = true {
		c, err := p.get(ctx, fresh)
		if err != nil {
			return nil, err
		}
		entries, err := c.search(ctx, s)
		again := c.reused && c.broken && silent(err) && ctx.Err() == nil
		p.put(c)
		if !again {
			return entries, err
		}
		p.flush()
	}
}

func (c *conn) search(ctx context.Context, s *Search) ([]*Entry, error) {
	limit := s.Limit
	if limit <= 0 {
		limit = maxEntries
	}
	r := &ldap.SearchRequest{
		BaseDN: s.Base, Scope: s.Scope, DerefAliases: ldap.NeverDerefAliases, Filter: s.Filter, Attributes: s.Attributes,
		SizeLimit: limit, EnforceSizeLimit: true, TimeLimit: secondsLeft(ctx),
	}
	if s.PageSize <= 0 {
		entries, _, err := c.page(ctx, r)
		return entries, err
	}
	var all []*Entry
	paging := ldap.NewControlPaging(uint32(s.PageSize))
	r.Controls = []ldap.Control{paging}
	r.SizeLimit, r.EnforceSizeLimit = 0, false // it would count for each page, or for all: servers differ
	for {
		entries, cookie, err := c.page(ctx, r)
		all = append(all, entries...)
		if err == nil && len(all) > limit {
			err = errTooMany
		}
		if len(all) > limit {
			all = all[:limit]
		}
		if err != nil || len(cookie) == 0 {
			// Pages that are left keep resources of the server's until the connection ends.
			c.broken = c.broken || len(cookie) > 0
			return all, err
		}
		paging.SetCookie(cookie)
	}
}

var errTooMany = &ldap.Error{ResultCode: ldap.LDAPResultSizeLimitExceeded, Err: errors.New("more entries than asked for")}

// page makes one request, and returns the cookie of the next.
func (c *conn) page(ctx context.Context, r *ldap.SearchRequest) (entries []*Entry, cookie []byte, err error) {
	var result *ldap.SearchResult
	err = c.do(ctx, func(l *ldap.Conn) (err error) {
		result, err = l.Search(r)
		if errors.Is(err, ldap.ErrSizeLimitExceeded) {
			c.broken = true // the rest is still coming
			return errTooMany
		}
		return err
	})
	if result == nil || err != nil && !Is(err, ldap.LDAPResultSizeLimitExceeded) {
		return nil, nil, err
	}
	if p, ok := ldap.FindControl(result.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging); ok {
		cookie = p.Cookie
	}
	return result.Entries, cookie, err
}

// secondsLeft lets the server give up when we do.
func secondsLeft(ctx context.Context) int {
	end, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return int(math.Ceil(max(time.Until(end).Seconds(), 1)))
}
