package radiusd

import (
	"context"
	"errors"
	"time"

	"layeh.com/radius/rfc2865"

	"postern/authz"
	"postern/internal/radius"
)

// Nodes is told of nodes, and says what is wished of them; package authz/nodes has one.
// It is called from many goroutines.
type Nodes interface {
	// Heard is told what a node says of itself.
	Heard(ctx context.Context, client, node string, h *radius.NodeHealth) (radius.Duty, error)
	// Began and Ended are told of Accounting-On and -Off; ours: of a node of ours.
	Began(ctx context.Context, client, node string, ours bool) error
	Ended(ctx context.Context, client, node string) error
}

// RegisterAt has n told; to be called before Start.
func (s *Server) RegisterAt(n Nodes) { s.nodes = n }

// registerWait is how long the answer to a Status-Server may wait for the store. That
// this service lives is told in any case, and in time: the store's trouble is told to
// who logs in.
const registerWait = 500 * time.Millisecond

// status answers a Status-Server (RFC 5997 §2.1).
func (s *Server) status(ctx context.Context, t *ticket) (*radius.Packet, error) {
	code := radius.CodeAccessAccept
	if t.from.port == portAcct {
		code = radius.CodeAccountingResponse
	}
	reply := radius.NewReply(t.packet, code)
	name, _ := rfc2865.NASIdentifier_LookupString(t.packet)
	h, ok := radius.ReadNodeHealth(t.packet)
	if !ok || name == "" || s.nodes == nil {
		return reply, nil
	}
	ctx, cancel := context.WithTimeout(ctx, registerWait)
	defer cancel()
	d, err := s.nodes.Heard(ctx, t.client.Name, text(name), &h)
	if err != nil { // without a duty the node goes on as it is
		s.unregistered(t, err)
		return reply, nil
	}
	return reply, radius.AddDuty(reply, d)
}

// registered tells of Accounting-On and -Off. The record is stored, and what comes of
// this no reason to have it sent again.
func (s *Server) registered(ctx context.Context, t *ticket, a *authz.Accounting) {
	if s.nodes == nil || a.NAS.ID == "" {
		return
	}
	var err error
	switch a.Status {
	case authz.AcctOn:
		err = s.nodes.Began(ctx, t.client.Name, a.NAS.ID, t.client.Node)
	case authz.AcctOff:
		err = s.nodes.Ended(ctx, t.client.Name, a.NAS.ID)
	case authz.AcctUnknown, authz.AcctStart, authz.AcctInterim, authz.AcctStop:
	}
	if err != nil {
		s.unregistered(t, err)
	}
}

func (s *Server) unregistered(t *ticket, err error) {
	if !errors.Is(err, context.Canceled) && s.unstored.now() {
		s.log.Warn("a node is not registered", "client", t.client.Name, "error", err)
	}
}
