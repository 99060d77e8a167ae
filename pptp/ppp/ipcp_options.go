package ppp

// forget starts our request afresh.
func (i *IPCP) forget() {
	i.dropped = seen{}
	i.local = i.wish
	if i.client {
		i.servers = nameServers{}
	}
}

// wants tells whether we ask for a name server of this type.
func (i *IPCP) wants(typ uint8) bool {
	if !i.client || i.dropped.has(typ) {
		return false
	}
	if typ == ipcpDNS1 || typ == ipcpDNS2 {
		return i.wantDNS
	}
	return i.wantNBNS
}

// request appends the options of our Configure-Request: our address, and a client's
// name servers, all zero until told.
func (i *IPCP) request(dst []byte) []byte {
	if !i.dropped.has(ipcpAddress) {
		dst = option{typ: ipcpAddress, value: i.local[:]}.Append(dst)
	}
	for typ := uint8(ipcpDNS1); typ <= ipcpNBNS2; typ++ {
		if i.wants(typ) {
			dst = option{typ: typ, value: i.servers[typ-ipcpDNS1][:]}.Append(dst)
		}
	}
	return dst
}

// judge reads the peer's request. Rejected are the old IP-Addresses option, Van
// Jacobson compression, name servers we have none of and all we do not know.
func (i *IPCP) judge(opts []byte, stubborn bool, r *reply) {
	var listed seen
	var peer [4]byte
	for o := range options(opts) {
		if listed.again(o.typ) {
			r.reject(o)
			continue
		}
		switch o.typ {
		case ipcpAddress:
			peer = i.judgeAddress(o, stubborn, r)
		case ipcpDNS1, ipcpNBNS1, ipcpDNS2, ipcpNBNS2:
			have := i.servers[o.typ-ipcpDNS1]
			switch {
			case i.client || have == [4]byte{}:
				r.reject(o)
			case string(o.value) != string(have[:]):
				r.suggest(o, stubborn, have[:])
			}
		default:
			r.reject(o)
		}
	}
	if i.assign != [4]byte{} && !listed.has(ipcpAddress) && len(r.rej) == 0 {
		// A peer that names no address is told its own by an appended Nak
		// (RFC 1661 §5.3): without it, it would use one we cannot route.
		if stubborn {
			r.fail = AddressRefused
			return
		}
		r.nak = option{typ: ipcpAddress, value: i.assign[:]}.Append(r.nak)
	}
	if r.fail == ReasonUnknown && r.code() == CodeConfigureAck {
		i.peer = peer
	}
}

// judgeAddress: a server's peer takes what it is given and nothing else; who
// insists on another address is sent away. A client takes whatever its server has.
func (i *IPCP) judgeAddress(o option, stubborn bool, r *reply) (peer [4]byte) {
	ok := len(o.value) == 4
	if ok {
		peer = [4]byte(o.value)
	}
	switch {
	case i.assign != [4]byte{}:
		if !ok || peer != i.assign {
			if stubborn {
				r.fail = AddressRefused
				return peer
			}
			r.suggest(o, false, i.assign[:])
		}
	case !ok || peer == [4]byte{}: // asks us for an address, and we have none to give
		r.reject(o)
	}
	return peer
}

// refused learns from a Nak or Reject of our request.
func (i *IPCP) refused(code Code, opts []byte) Reason {
	for o := range options(opts) {
		if code == CodeConfigureReject {
			i.dropped.again(o.typ)
			if o.typ == ipcpAddress && i.client {
				return AddressRefused // without an address there is nothing to do
			}
			continue
		}
		if !i.client || len(o.value) != 4 || [4]byte(o.value) == [4]byte{} {
			continue // our own address is not the peer's to choose
		}
		switch {
		case o.typ == ipcpAddress:
			i.local = [4]byte(o.value)
		case o.typ >= ipcpDNS1 && o.typ <= ipcpNBNS2 && i.wants(o.typ):
			i.servers[o.typ-ipcpDNS1] = [4]byte(o.value)
		}
	}
	return ReasonUnknown
}
