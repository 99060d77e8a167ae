package authz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A quarantined session's URL refers to it by a token that the key ring seals: who has
// it may see which session waits and whose it is, until it lapses, and no more. It
// names the session and when that was opened, for IDs return:
//
//	opened (8)  until (8)  session ID

const (
	// maxURL is what a Vendor-Specific attribute takes (RFC 2865 §5.26).
	maxURL = 247
	// referencePurpose binds the envelope.
	referencePurpose = "session"
	// referencePath is the portal's page for it.
	referencePath = "/s/"
)

// reference is an opened token.
type reference struct {
	session string
	opened  time.Time
	until   time.Time
}

func (r *reference) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(r.opened.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(r.until.UnixMilli()))
	return append(b, r.session...)
}

func parseReference(b []byte) (reference, error) {
	if len(b) <= 16 {
		return reference{}, ErrReference
	}
	return reference{
		opened:  time.Unix(0, int64(binary.BigEndian.Uint64(b))),
		until:   time.UnixMilli(int64(binary.BigEndian.Uint64(b[8:]))),
		session: string(b[16:]),
	}, nil
}

var errNoRing = errors.New("no key ring")

// refer makes a session's URL.
func (d *Decider) refer(r reference) (string, error) {
	if d.cfg.Ring == nil {
		return "", errNoRing
	}
	token, err := d.cfg.Ring.Seal(referencePurpose, "", r.append(nil))
	if err != nil {
		return "", err
	}
	url := strings.TrimSuffix(d.cfg.Portal, "/") + referencePath + token
	if len(url) > maxURL {
		return "", fmt.Errorf("the URL of a session is %d octets, too long for RADIUS: shorten portal.url or the node's name", len(url))
	}
	return url, nil
}

// openReference opens a token. Whether it has lapsed the store's clock says.
func (d *Decider) openReference(token string) (reference, error) {
	if len(token) > maxURL {
		return reference{}, ErrReference
	}
	b, err := d.cfg.Ring.Open(referencePurpose, "", token)
	if err != nil {
		return reference{}, fmt.Errorf("%w: %w", ErrReference, err)
	}
	return parseReference(b)
}
