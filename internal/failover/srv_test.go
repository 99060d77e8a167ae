package failover

import (
	"context"
	"net"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// resolver answers SRV questions for name with records, from memory.
func resolver(t *testing.T, name string, rcode dnsmessage.RCode, records ...dnsmessage.SRVResource) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			size := make([]byte, 2) // a stream, so the resolver speaks DNS over TCP
			for {
				if _, err := server.Read(size); err != nil {
					return
				}
				query := make([]byte, int(size[0])<<8|int(size[1]))
				if _, err := server.Read(query); err != nil {
					return
				}
				var m dnsmessage.Message
				if err := m.Unpack(query); err != nil {
					t.Error(err)
					return
				}
				q := m.Questions[0]
				m.Response, m.RecursionAvailable, m.RCode, m.Additionals = true, true, rcode, nil
				if q.Type != dnsmessage.TypeSRV || q.Name.String() != name {
					m.RCode = dnsmessage.RCodeNameError
				} else {
					for _, r := range records {
						m.Answers = append(m.Answers, dnsmessage.Resource{
							Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 600}, Body: &r,
						})
					}
				}
				reply, err := m.Pack()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := server.Write(append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

func record(priority uint16, target string) dnsmessage.SRVResource {
	return dnsmessage.SRVResource{Priority: priority, Weight: 100, Port: 389, Target: dnsmessage.MustNewName(target)}
}

func TestSRV(t *testing.T) {
	const service, full = "_ldap._tcp.dc._msdcs", "_ldap._tcp.dc._msdcs.lab.example."
	for _, c := range []struct {
		name    string
		domain  string
		rcode   dnsmessage.RCode
		records []dnsmessage.SRVResource
		want    []string // nil: an error
	}{
		{"priorities", "lab.example", 0, []dnsmessage.SRVResource{record(20, "dc3.lab.example."), record(0, "DC1.lab.example."), record(10, "dc2.lab.example.")},
			[]string{"dc1.lab.example", "dc2.lab.example", "dc3.lab.example"}},
		{"rooted", "lab.example.", 0, []dnsmessage.SRVResource{record(0, "dc1.lab.example.")}, []string{"dc1.lab.example"}},
		{"twice", "lab.example", 0, []dnsmessage.SRVResource{record(0, "dc1.lab.example."), record(1, "dc1.lab.example.")}, []string{"dc1.lab.example"}},
		{"not offered", "lab.example", 0, []dnsmessage.SRVResource{record(0, ".")}, nil},
		{"bad name beside a good one", "lab.example", 0, []dnsmessage.SRVResource{record(0, "no such\\host."), record(1, "dc2.lab.example.")}, []string{"dc2.lab.example"}},
		{"no records", "lab.example", 0, nil, nil},
		{"failure", "lab.example", dnsmessage.RCodeServerFailure, nil, nil},
		{"other domain", "other.example", 0, []dnsmessage.SRVResource{record(0, "dc1.lab.example.")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := SRVFrom(resolver(t, full, c.rcode, c.records...), c.domain, service)(t.Context())
			if !slices.Equal(got, c.want) || (err != nil) != (c.want == nil) {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}
