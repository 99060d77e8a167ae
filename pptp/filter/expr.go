package filter

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// rule is one rule as it is sent. Its comment is also how Verify knows it again, so
// that within a chain the order of comments says which rules there are.
type rule struct {
	comment string
	exprs   []expr.Any
	sets    []anonymous
}

// anonymous is a set that lives and dies with its rule.
type anonymous struct {
	key      nftables.SetDatatype
	elements []nftables.SetElement
	lookup   *expr.Lookup // which gets the set's number when the rule is sent
}

// part is a piece of a rule: a match or what is done.
type part func(*rule)

// maxComment is nft's bound, NFTNL_UDATA_COMMENT_MAXLEN.
const maxComment = 128

// say builds a rule.
func say(comment string, parts ...part) rule {
	r := rule{comment: comment}
	for _, p := range parts {
		p(&r)
	}
	return r
}

func (r *rule) userData() []byte {
	return userdata.AppendString(nil, userdata.TypeComment, r.comment)
}

// Registers, as nft uses them: a key of two parts lies in the first two words.
const (
	reg1 = unix.NFT_REG_1
	reg2 = unix.NFT_REG_2
	half = unix.NFT_REG32_01
)

func plus(exprs ...expr.Any) part {
	return func(r *rule) { r.exprs = append(r.exprs, exprs...) }
}

// all is parts in a row.
func all(parts ...part) part {
	return func(r *rule) {
		for _, p := range parts {
			p(r)
		}
	}
}

func is(data ...byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: data} }

func isNot(data ...byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: data} }

// Interfaces, by name: a device that goes and comes back keeps its rules.

func interfaceName(s string) []byte { return append([]byte(s), make([]byte, unix.IFNAMSIZ-len(s))...) }

func iif(name string) part {
	return plus(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg1}, is(interfaceName(name)...))
}

func iifNot(name string) part {
	return plus(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg1}, isNot(interfaceName(name)...))
}

func oif(name string) part {
	return plus(&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg1}, is(interfaceName(name)...))
}

func oifNot(name string) part {
	return plus(&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg1}, isNot(interfaceName(name)...))
}

// field is where a part of a packet lies: RFC 791 §3.1, RFC 9293 §3.1, RFC 768,
// RFC 792.
type field struct {
	base   expr.PayloadBase
	offset uint32
	size   width
	bits   int // of an address: how much of it is looked at; 0: all
}

var (
	saddr    = field{base: expr.PayloadBaseNetworkHeader, offset: 12, size: addressWidth}
	daddr    = field{base: expr.PayloadBaseNetworkHeader, offset: 16, size: addressWidth}
	sport    = field{base: expr.PayloadBaseTransportHeader, offset: 0, size: portWidth}
	dport    = field{base: expr.PayloadBaseTransportHeader, offset: 2, size: portWidth}
	tcpFlags = field{base: expr.PayloadBaseTransportHeader, offset: 13, size: 1}
	icmpType = field{base: expr.PayloadBaseTransportHeader, offset: 0, size: 1}
)

// Fixed by RFC 792 and RFC 9293 §3.1.
const (
	icmpEchoRequest = 8
	tcpSYN          = 0x02
	tcpRST          = 0x04
)

// masked is the network of that length that an address is in.
func (f field) masked(bits int) field {
	f.bits = bits
	return f
}

// load gets the field into a register, for the expressions behind it.
func (f field) load(register uint32, then ...expr.Any) part {
	exprs := []expr.Any{&expr.Payload{DestRegister: register, Base: f.base, Offset: f.offset, Len: uint32(f.size)}}
	if whole := 8 * int(f.size); f.bits > 0 && f.bits < whole {
		exprs = append(exprs, &expr.Bitwise{
			SourceRegister: register, DestRegister: register, Len: uint32(f.size),
			Mask: f.size.bytes(^uint32(0) << (whole - f.bits)), Xor: f.size.bytes(0),
		})
	}
	return plus(append(exprs, then...)...)
}

func (f field) isAddr(a netip.Addr) part { return f.load(reg1, is(a.AsSlice()...)) }

func (f field) isPort(p uint16) part {
	return f.load(reg1, is(binary.BigEndian.AppendUint16(nil, p)...))
}

func (f field) isType(t byte) part { return f.load(reg1, is(t)) }

// within matches what lies in one of the spans: one value, one range, or a set.
func (f field) within(spans []span) part {
	return func(r *rule) {
		if len(spans) == 1 && spans[0] == f.size.whole() {
			return
		}
		f.load(reg1)(r)
		if len(spans) == 1 {
			r.exprs = append(r.exprs, f.size.compare(spans[0])...)
			return
		}
		key := nftables.TypeIPAddr
		if f.size == portWidth {
			key = nftables.TypeInetService
		}
		lookup := &expr.Lookup{SourceRegister: reg1}
		r.exprs = append(r.exprs, lookup)
		r.sets = append(r.sets, anonymous{key, f.size.elements(spans), lookup})
	}
}

func (w width) compare(s span) []expr.Any {
	if s.first == s.last {
		return []expr.Any{is(w.bytes(s.first)...)}
	}
	if mask := s.first ^ s.last; w == addressWidth && mask&(mask+1) == 0 && s.first&mask == 0 { // a prefix
		return []expr.Any{
			&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: uint32(w), Mask: w.bytes(^mask), Xor: w.bytes(0)},
			is(w.bytes(s.first)...),
		}
	}
	return []expr.Any{&expr.Range{Op: expr.CmpOpEq, Register: reg1, FromData: w.bytes(s.first), ToData: w.bytes(s.last)}}
}

func (f field) in(set string) part {
	return f.load(reg1, &expr.Lookup{SourceRegister: reg1, SetName: set})
}

func (f field) notIn(set string) part {
	return f.load(reg1, &expr.Lookup{SourceRegister: reg1, SetName: set, Invert: true})
}

// pair matches two fields together in a set of both.
func pair(a, b field, set string) part {
	return all(a.load(reg1), b.load(half, &expr.Lookup{SourceRegister: reg1, SetName: set}))
}

func notPair(a, b field, set string) part {
	return all(a.load(reg1), b.load(half, &expr.Lookup{SourceRegister: reg1, SetName: set, Invert: true}))
}

// verdictOf goes where the map says for this address, if it says anything.
func (f field) verdictOf(set string) part {
	return f.load(reg1, &expr.Lookup{SourceRegister: reg1, SetName: set, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true})
}

func proto(p Protocol) part {
	return plus(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, is(byte(p)))
}

// tcpOrUDP matches what has ports where both have them.
func tcpOrUDP(r *rule) {
	lookup := &expr.Lookup{SourceRegister: reg1}
	r.exprs = append(r.exprs, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, lookup)
	r.sets = append(r.sets, anonymous{nftables.TypeInetProto, []nftables.SetElement{{Key: []byte{byte(TCP)}}, {Key: []byte{byte(UDP)}}}, lookup})
}

var syn = all(proto(TCP), tcpFlags.load(reg1,
	&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{tcpSYN | tcpRST}, Xor: []byte{0}}, is(tcpSYN)))

// Connection tracking. A flow's direction is the kernel's: original is who began.

func state(bits uint32) part {
	native := func(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
	return plus(&expr.Ct{Key: expr.CtKeySTATE, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native(bits), Xor: native(0)},
		isNot(native(0)...))
}

var (
	related = state(expr.CtStateBitRELATED) // ICMP errors
	answer  = all(plus(&expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg1}, is(ipCtDirReply)), state(expr.CtStateBitESTABLISHED))
)

// ipCtDirReply is IP_CT_DIR_REPLY, fixed by Linux.
const ipCtDirReply = 1

// limit matches while what one source sends stays under a rate, or, with over, beyond
// it. The set forgets sources that are silent, and takes no more than
// its size: a source that has no room is as one that sent nothing.
func limit(source field, set string, perSecond, burst int, over bool) part {
	return source.load(reg1, &expr.Dynset{
		SrcRegKey: reg1, SetName: set, Operation: unix.NFT_DYNSET_OP_UPDATE,
		Exprs: []expr.Any{&expr.Limit{
			Type: expr.LimitTypePkts, Rate: uint64(perSecond), Unit: expr.LimitTimeSecond, Burst: uint32(burst), Over: over,
		}},
	})
}

func count(counter string) part {
	return plus(&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: counter})
}

// What is done.
var (
	accept     = plus(&expr.Verdict{Kind: expr.VerdictAccept})
	drop       = plus(&expr.Verdict{Kind: expr.VerdictDrop})
	masquerade = plus(&expr.Masq{})
	prohibit   = plus(&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: icmpAdminProhibited})
	reset      = plus(&expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
)

// icmpAdminProhibited is RFC 1812 §5.2.7.1's code 13.
const icmpAdminProhibited = 13

func goTo(chain string) part { return plus(&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}) }

func jump(chain string) part { return plus(&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}) }

func snat(to netip.Addr) part {
	return plus(&expr.Immediate{Register: reg1, Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg1})
}

func dnat(to netip.AddrPort) part {
	return plus(&expr.Immediate{Register: reg1, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: reg2, Data: binary.BigEndian.AppendUint16(nil, to.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg1, RegProtoMin: reg2})
}

// clampMSS lowers the MSS option (RFC 9293 §3.2); the kernel never raises it.
func clampMSS(mss int) part {
	value := []expr.Any{&expr.Immediate{Register: reg1, Data: binary.BigEndian.AppendUint16(nil, uint16(mss))}}
	if mss == 0 { // what both routes, there and back, allow
		value = []expr.Any{
			&expr.Rt{Register: reg1, Key: expr.RtTCPMSS},
			&expr.Byteorder{SourceRegister: reg1, DestRegister: reg1, Op: expr.ByteorderHton, Len: 2, Size: 2},
		}
	}
	const tcpOptionMSS, valueOffset, valueLength = 2, 2, 2
	return plus(append(value, &expr.Exthdr{
		SourceRegister: reg1, Type: tcpOptionMSS, Offset: valueOffset, Len: valueLength, Op: expr.ExthdrOpTcpopt,
	})...)
}
