package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"postern/internal/report"
)

// enrol makes a key and lets the service know it.
func (a *agent) enrol(ctx context.Context, args []string) error {
	f := a.flags("enrol")
	server := f.String("server", "", "`URL` of the service's portal")
	ticket := f.String("ticket", "", "`TICKET` of the portal or of an operator; - reads it from standard input")
	ca := f.String("ca", "", "`FILE` with the certificate of the CA that knows the portal; else the system's")
	pin := f.String("pin", "", "`sha256/BASE64` of the portal's public key, instead of any CA")
	name := f.String("name", "", "`NAME` of this computer; else its host name")
	again := f.Bool("again", false, "enrol though there is a key, which is lost then")
	if err := parse(f, args); err != nil {
		return err
	}
	if *server == "" || *ticket == "" {
		return errors.New("enrol: --server and --ticket are needed")
	}
	if *ticket == "-" {
		if _, err := fmt.Fscan(os.Stdin, ticket); err != nil {
			return fmt.Errorf("read the ticket: %w", err)
		}
	}
	if _, err := a.identity(); err == nil && !*again {
		return errors.New("this computer is enrolled; --again makes a new key in the place of the old one")
	}
	id := &identity{Server: *server, Pin: *pin}
	if *ca != "" {
		b, err := os.ReadFile(*ca)
		if err != nil {
			return err
		}
		id.CA = string(b)
	}
	s, err := newService(id.Server, id.CA, id.Pin)
	if err != nil {
		return err
	}
	if *name == "" {
		if *name, err = os.Hostname(); err != nil {
			return err
		}
	}
	// All that can fail here fails before the ticket is spent.
	if err := protect(a.dir); err != nil {
		return err
	}
	if _, id.key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return err
	}
	reply, err := s.post(ctx, report.EnrolPath, report.Enrol(*ticket, report.HostName(*name), id.key).Append(nil))
	if err != nil {
		return err
	}
	if reply.Refused != report.Taken {
		return &refused{reply}
	}
	id.Device, id.User = reply.Device, reply.User
	if err := a.keep(id); err != nil {
		return fmt.Errorf("enrolled as %s, and the key could not be kept: %w", id.Device, err)
	}
	fmt.Fprintf(a.out, "this computer is %s of %s\n", id.Device, id.User)
	_, err = a.send(ctx)
	if err != nil {
		return fmt.Errorf("enrolled, and the first report failed: %w", err)
	}
	return nil
}
