package ad

import (
	"context"
	"errors"
	"strings"
	"time"

	"postern/authz/directory/netlogon"
)

// setUpChannels sets up NETLOGON with each server.
func (d *doctor) setUpChannels(ctx context.Context) {
	const check = "netlogon"
	for _, host := range d.hosts {
		c, err := d.dir.dc(host)
		if err != nil {
			continue // told already
		}
		var got netlogon.Checked
		err = d.dir.asMachine(c, func() error {
			got, err = c.netlogon.Check(ctx)
			return err
		})
		switch {
		case machineRefused(err):
			d.found(check, host, Bad, remedies[AlarmMachine], "the domain controller does not take the machine account's password: %v", err)
		case err != nil:
			remedy := "let this host reach TCP 135 and 49152-65535 of the server"
			var u *netlogon.Unavailable
			if errors.As(err, &u) && u.Alarm {
				remedy = remedies[AlarmMachine]
			}
			d.found(check, host, Bad, remedy, "no sealed channel: %v", err)
		case !got.AES || !got.Sealed:
			d.found(check, host, Bad, "update the domain controller", "the channel is not sealed with AES")
		default:
			d.found(check, host, OK, "", "a channel sealed with AES was set up in %v", got.SetUp.Round(time.Millisecond))
			d.compareDomain(host, got.Trusts)
		}
	}
}

// compareDomain compares the domain's NetBIOS name with the configured one: under
// another name the domain controller would ask others for our users.
func (d *doctor) compareDomain(host string, domains []netlogon.Trust) {
	for _, t := range domains {
		if t.Own && t.NetBIOS != "" && !strings.EqualFold(t.NetBIOS, d.cfg.NetBIOS) {
			d.found("netlogon", host, Bad, "set netbios: "+t.NetBIOS, "the domain's NetBIOS name is %s, not %s", t.NetBIOS, d.cfg.NetBIOS)
		}
	}
}

// tryMSCHAPv2 logs the probe account on.
func (d *doctor) tryMSCHAPv2(ctx context.Context) {
	const check = "ms-chapv2"
	if d.cfg.Probe == nil {
		d.found(check, d.cfg.Domain, Warn, "make an account without rights and configure it under probe",
			"not tried: there is no probe account, and a domain controller that refuses counts a wrong password against whoever is tried")
		return
	}
	for _, c := range d.dcs {
		result, what := d.dir.probe(ctx, c)
		switch result {
		case probeAccepted:
			d.found(check, c.host, OK, "", "the domain controller accepts MS-CHAPv2")
		case probeRefused:
			d.found(check, c.host, Bad, remedies[AlarmMSCHAPv2], "the domain controller does not accept MS-CHAPv2: %s", what)
		case probeWrong:
			d.found(check, c.host, Bad, remedies[AlarmProbe], "%s", what)
		case probeNothing:
			if what == "" {
				what = "no answer"
			}
			d.found(check, c.host, Bad, remedies[AlarmProbe], "%s", what)
		}
	}
}
