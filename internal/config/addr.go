package config

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
)

func splitHostPort(text string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, errors.New("not host:port")
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, errors.New("the port is not a number up to 65535")
	}
	if !printable(host) {
		return "", 0, errors.New("not a host")
	}
	return host, uint16(n), nil
}

func isAddr(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
