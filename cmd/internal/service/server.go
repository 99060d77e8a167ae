package service

import (
	"errors"
	"fmt"

	"postern/internal/config"
	"postern/internal/radius"
	"postern/radiusd"
)

// clients reads the shared secrets of those who may ask.
func clients(cfg *config.Service) ([]radiusd.Client, error) {
	var list []radiusd.Client
	var errs []error
	for _, c := range cfg.Clients {
		one := radiusd.Client{
			Name: string(c.Name), Networks: c.Networks, Certificates: c.Certificates,
			Node: c.Node, AllowPAP: c.AllowPAP, CodeInPassword: c.CodeInPassword,
			AllowMSCHAPOverUDP: c.AllowMSCHAPOverUDP, CoA: string(c.CoA),
		}
		if !c.RequireMessageAuthenticator {
			one.Require = radiusd.RequireNo
		}
		if c.Secret.Set() {
			secret, err := c.Secret.Read()
			if err != nil {
				errs = append(errs, fmt.Errorf("client %s: %w", c.Name, err))
			}
			one.Secret = radius.NewSecret(secret)
			clear(secret)
		}
		for _, bits := range c.Strengths {
			one.Strengths |= map[int]radius.EncryptionTypes{
				128: radius.Encryption128, 56: radius.Encryption56, 40: radius.Encryption40,
			}[bits]
		}
		list = append(list, one)
	}
	return list, errors.Join(errs...)
}

// serverConfig turns a configuration into the RADIUS server's, secrets and
// certificates read.
func serverConfig(cfg *config.Service) (radiusd.Config, error) {
	r := cfg.Radius
	sc := radiusd.Config{
		Auth: string(r.Auth), Acct: string(r.Acct), Deadline: r.Deadline, Workers: r.Workers, Queue: r.Queue,
	}
	var errs []error
	var err error
	if sc.Clients, err = clients(cfg); err != nil {
		errs = append(errs, err)
	}
	if id := r.RadSec.Identity; r.RadSec.Listen != "" {
		sc.RadSec.Listen = string(r.RadSec.Listen)
		sc.RadSec.TLS, err = radius.ServerTLS(radius.TLSFiles{Cert: string(id.Cert), Key: string(id.Key), CA: string(id.CA)})
		errs = append(errs, err)
	}
	return sc, errors.Join(errs...)
}
