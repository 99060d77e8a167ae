package ppp

import "encoding/binary"

// LCP's configuration options (RFC 1661 §6 and what clients send beside them).
const (
	lcpMRU      = 1
	lcpACCM     = 2 // RFC 1662 §7.1
	lcpAuth     = 3
	lcpQuality  = 4
	lcpMagic    = 5
	lcpPFC      = 7
	lcpACFC     = 8
	lcpCallback = 13 // RFC 1570 §2.3; Windows clients ask for CBCP (6)
	lcpMRRU     = 17 // RFC 1990 §5.1.1; Windows servers
	lcpEndpoint = 19 // RFC 1990 §5.1.3; Windows servers
	lcpLinkDisc = 23 // RFC 2125 §7; Windows servers
)

const callbackCBCP = 6

// forget starts our request afresh.
func (l *LCP) forget() {
	l.dropped = seen{}
	l.mru = l.cfg.MRU
	l.accm = 0
	l.demand = 0
	l.newMagic()
}

// newMagic draws a number that is neither zero, which means none (RFC 1661 §6.4),
// nor the one we had.
func (l *LCP) newMagic() {
	magic := l.cfg.Magic()
	for magic == 0 || magic == l.magic {
		magic++
	}
	l.magic = magic
}

// demanded is the method we demand now.
func (l *LCP) demanded() Auth {
	if int(l.demand) < len(l.cfg.Demand) {
		return l.cfg.Demand[l.demand]
	}
	return AuthNone
}

func (l *LCP) magicBytes() []byte {
	if l.dropped.has(lcpMagic) {
		return make([]byte, 4) // RFC 1661 §5.8: zero when none was negotiated
	}
	return binary.BigEndian.AppendUint32(nil, l.magic)
}

// request appends the options of our Configure-Request.
func (l *LCP) request(dst []byte) []byte {
	add := func(typ uint8, value ...byte) {
		if !l.dropped.has(typ) {
			dst = option{typ: typ, value: value}.Append(dst)
		}
	}
	if l.mru != 0 {
		add(lcpMRU, byte(l.mru>>8), byte(l.mru))
	}
	if l.cfg.ACCM {
		add(lcpACCM, binary.BigEndian.AppendUint32(nil, l.accm)...)
	}
	if a := l.demanded(); a != AuthNone {
		add(lcpAuth, a.value()...)
	}
	add(lcpMagic, binary.BigEndian.AppendUint32(nil, l.magic)...)
	if l.cfg.PFC {
		add(lcpPFC)
	}
	if l.cfg.ACFC {
		add(lcpACFC)
	}
	if l.cfg.AskCallback {
		add(lcpCallback, callbackCBCP)
	}
	return dst
}

// judge reads the peer's request. What we do not list is rejected: callback
// (Windows clients), MRRU, endpoint discriminator and option 23 (Windows as a
// server), link quality, self-describing padding and the rest.
func (l *LCP) judge(opts []byte, stubborn bool, r *reply) {
	var listed seen
	peer := peerDefaults
	for o := range options(opts) {
		if listed.again(o.typ) {
			r.reject(o)
			continue
		}
		switch o.typ {
		case lcpMRU:
			peer.mru = l.judgeMRU(o, stubborn, r)
		case lcpACCM:
			if len(o.value) != 4 {
				r.suggest(o, stubborn, make([]byte, 4))
				continue
			}
			peer.accm = binary.BigEndian.Uint32(o.value)
		case lcpAuth:
			peer.auth = l.judgeAuth(o, stubborn, r)
		case lcpMagic:
			peer.magic = l.judgeMagic(o, stubborn, r)
		case lcpPFC, lcpACFC:
			if len(o.value) != 0 {
				r.suggest(o, stubborn, nil)
				continue
			}
			peer.pfc = peer.pfc || o.typ == lcpPFC
			peer.acfc = peer.acfc || o.typ == lcpACFC
		default:
			r.reject(o)
		}
	}
	if r.fail == ReasonUnknown && r.code() == CodeConfigureAck {
		l.peer = peer
	}
}

func (l *LCP) judgeMRU(o option, stubborn bool, r *reply) uint16 {
	if len(o.value) != 2 {
		r.suggest(o, stubborn, []byte{DefaultMRU >> 8, DefaultMRU & 0xFF})
		return DefaultMRU
	}
	mru := binary.BigEndian.Uint16(o.value)
	if mru < minMRU {
		r.suggest(o, stubborn, []byte{minMRU >> 8, minMRU & 0xFF})
	}
	return mru
}

// judgeAuth: a server is never authenticated by its client here, so with an empty
// Accept the option is rejected.
func (l *LCP) judgeAuth(o option, stubborn bool, r *reply) Auth {
	a := parseAuth(o.value)
	switch {
	case len(l.cfg.Accept) == 0:
		r.reject(o)
	case !contains(l.cfg.Accept, a) && stubborn:
		r.fail = AuthDemanded
	case !contains(l.cfg.Accept, a):
		r.suggest(o, stubborn, l.cfg.Accept[0].value())
	}
	return a
}

// judgeMagic is RFC 1661 §6.4: our own number coming back is a mirror, or rare luck.
func (l *LCP) judgeMagic(o option, stubborn bool, r *reply) uint32 {
	if len(o.value) != 4 {
		r.suggest(o, stubborn, binary.BigEndian.AppendUint32(nil, l.cfg.Magic()|1))
		return 0
	}
	magic := binary.BigEndian.Uint32(o.value)
	switch {
	case magic == 0:
		r.suggest(o, stubborn, binary.BigEndian.AppendUint32(nil, l.cfg.Magic()|1))
	case magic == l.magic && !l.dropped.has(lcpMagic):
		if l.loops++; l.loops >= maxLoops {
			r.fail = Looped
			return magic
		}
		r.suggest(o, stubborn, binary.BigEndian.AppendUint32(nil, l.cfg.Magic()|1))
	default:
		l.loops = 0
	}
	return magic
}

// refused learns from a Nak or Reject of our request.
func (l *LCP) refused(code Code, opts []byte) Reason {
	for o := range options(opts) {
		if code == CodeConfigureReject {
			l.dropped.again(o.typ)
			if o.typ != lcpAuth {
				continue
			}
		}
		switch o.typ {
		case lcpMRU:
			// A hint to take less is followed, one to take more is not needed.
			if len(o.value) == 2 && l.mru != 0 {
				if hint := binary.BigEndian.Uint16(o.value); hint >= minMRU && hint < l.mru {
					l.mru = hint
				}
			}
		case lcpACCM:
			if len(o.value) == 4 { // RFC 1662 §7.1: the union
				l.accm |= binary.BigEndian.Uint32(o.value)
			}
		case lcpMagic:
			l.newMagic()
		case lcpAuth:
			if why := l.authRefused(code, o.value); why != ReasonUnknown {
				return why
			}
		}
	}
	return ReasonUnknown
}

// authRefused takes what the peer offers instead if we demand that too, else our
// next method. When none is left the link ends: PAP, CHAP-MD5 and MS-CHAPv1, which
// old clients suggest, are never agreed to.
func (l *LCP) authRefused(code Code, value []byte) Reason {
	if l.demanded() == AuthNone {
		return ReasonUnknown // not ours: nobody was asked to authenticate
	}
	next := int(l.demand) + 1
	if code == CodeConfigureNak {
		offer := parseAuth(value)
		for i := next; i < len(l.cfg.Demand); i++ {
			if l.cfg.Demand[i] == offer {
				next = i
			}
		}
	}
	if next >= len(l.cfg.Demand) {
		return AuthRefused
	}
	l.demand = uint8(next)
	l.dropped[0] &^= 1 << lcpAuth
	return ReasonUnknown
}

func contains(list []Auth, a Auth) bool {
	for _, b := range list {
		if a == b {
			return true
		}
	}
	return false
}
