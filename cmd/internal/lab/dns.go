package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"
)

// portalName is the portal's: a browser registers security keys for names only.
const portalName = "portal.postern.lab"

// nameserver is the DNS server behind the node. It knows every name: the portal's is
// the portal, any other is the host that it runs on.
type nameserver struct {
	conn         net.PacketConn
	portal, host netip.Addr
	done         chan struct{}
}

// serveNames starts one on the host behind the node.
func (n *network) serveNames(p plan) (*nameserver, error) {
	ns, err := netns.GetFromName(n.name)
	if err != nil {
		return nil, fmt.Errorf("DNS server: %w", err)
	}
	defer ns.Close()
	s := &nameserver{portal: p.router, host: p.host, done: make(chan struct{})}
	err = within(ns, func() (err error) {
		s.conn, err = net.ListenPacket("udp4", netip.AddrPortFrom(p.host, 53).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("DNS server: %w", err)
	}
	go s.run() // ended by close, which waits
	return s, nil
}

func (s *nameserver) close() {
	_ = s.conn.Close()
	<-s.done
}

func (s *nameserver) run() {
	defer close(s.done)
	buf := make([]byte, 512) // RFC 1035 §2.3.4
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply := s.answer(buf[:n]); reply != nil {
			_, _ = s.conn.WriteTo(reply, from)
		}
	}
}

// answer is nil for what is no question.
func (s *nameserver) answer(query []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired},
		Questions: []dnsmessage.Question{q},
	}
	if q.Type == dnsmessage.TypeA && q.Class == dnsmessage.ClassINET {
		a := s.host
		if q.Name.String() == portalName+"." {
			a = s.portal
		}
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 10},
			Body:   &dnsmessage.AResource{A: a.As4()},
		}}
	}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	return reply
}
