package client

import (
	"errors"

	"postern/pptp/gre"
	"postern/pptp/tun"
)

// Attach joins the session with a TUN device: what is received goes there instead of
// to Deliver, what the device sends goes to the server; what is too big or comes when
// the session is not up is dropped. It returns at once and takes the device over,
// which is closed when the session ends.
func (s *Session) Attach(dev tun.Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == phaseGone {
		return errors.Join(ErrNotUp, dev.Close())
	}
	s.host.work.Go(func() { s.pump(dev) }) // Host.Close waits
	s.host.work.Go(func() {                // likewise
		<-s.done
		_ = dev.Close() // pump notices
	})
	s.deliver = func(ips [][]byte) {
		for _, ip := range ips {
			tun.ClampMSS(ip, s.cfg.MTU)
		}
		_, _ = dev.WriteBatch(ips, 0) // a device that is gone stops the pump, which ends the session
	}
	return nil
}

// pump sends what comes from a device until it is closed.
func (s *Session) pump(dev tun.Device) {
	bufs, sizes := make([][]byte, batchSize), make([]int, batchSize)
	slab := make([]byte, batchSize*maxFrame)
	for i := range bufs {
		bufs[i] = slab[i*maxFrame : (i+1)*maxFrame : (i+1)*maxFrame]
	}
	ms := make([]gre.Message, 0, batchSize)
	for {
		k, err := dev.ReadBatch(bufs, sizes, headroom)
		if err != nil {
			s.abandon(err) // or it has ended
			return
		}
		s.mu.Lock()
		for i := range k {
			ip := bufs[i][headroom : headroom+sizes[i]]
			if len(ip) < ipv4Header || ip[0]>>4 != 4 { // a host's IPv6 router solicitations
				continue
			}
			tun.ClampMSS(ip, s.mtu)
			if m, err := s.seal(bufs[i], sizes[i]); err == nil {
				ms = append(ms, m)
			}
		}
		if len(ms) > 0 {
			n, _ := s.host.conn.WriteBatch(ms) // its error is the reader's too, who ends the session
			s.stats.Unsent += uint64(len(ms) - n)
		}
		s.mu.Unlock()
		clear(ms)
		ms = ms[:0]
	}
}
