package netlogon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// pduType is a connection-oriented PDU's type (C706 §12.6.4).
//
// Handled in: pduNames, pduFixed.
type pduType uint8

const (
	pduRequest  pduType = 0
	pduResponse pduType = 2
	pduFault    pduType = 3
	pduBind     pduType = 11
	pduBindAck  pduType = 12
	pduBindNak  pduType = 13
	pduAlterAck pduType = 15
	pduShutdown pduType = 17
	pduAlter    pduType = 14
	pduAuth3    pduType = 16
)

var pduNames = map[pduType]string{
	pduRequest: "request", pduResponse: "response", pduFault: "fault", pduBind: "bind", pduBindAck: "bind-ack",
	pduBindNak: "bind-nak", pduAlter: "alter-context", pduAlterAck: "alter-context response", pduAuth3: "auth3",
	pduShutdown: "shutdown",
}

// String returns the type's name in C706.
func (t pduType) String() string {
	if s, ok := pduNames[t]; ok {
		return s
	}
	return fmt.Sprintf("PDU of type %d", uint8(t))
}

// pduFixed is how much of a body is always there. Types that are not in it are not
// taken from a server.
var pduFixed = map[pduType]int{
	pduResponse: 8, pduFault: 12, pduBindAck: 10, pduBindNak: 2, pduAlterAck: 10, pduShutdown: 0,
}

// C706 §12.6.3, MS-RPCE §2.2.2.
const (
	pduHeader   = 16
	pduTrailer  = 8 // sec_trailer, before the authentication token
	pduVersion  = 5
	pduFirst    = 0x01
	pduLast     = 0x02
	pduDataRep  = 0x10 // ASCII, little-endian, IEEE: the first of four octets, the others are zero
	minFragment = 1432 // C706 §12.6.3.10, MustRecvFragSize

	pduOffType  = 2
	pduOffFlags = 3
	pduOffRep   = 4
	pduOffLen   = 8
	pduOffAuth  = 10
	pduOffCall  = 12
)

// Ours.
const (
	maxFragment = 4280    // what we announce; Windows' own clients say the same
	maxReply    = 1 << 16 // of a plain call: the longest list of towers is a fraction of it
)

// pdu is one fragment. Body and token are views of what was parsed.
type pdu struct {
	kind  pduType
	flags uint8
	call  uint32
	body  []byte
	auth  []byte // sec_trailer and token; nil: none
}

var (
	errShortPDU = errors.New("PDU is cut short")
	errBadPDU   = errors.New("PDU is no DCE/RPC version 5")
	errPDUType  = errors.New("PDU is none that a server sends")
	errPDUAuth  = errors.New("PDU's authentication is longer than the PDU")
	errBigPDU   = errors.New("PDU is longer than a server may send")
)

// parsePDU reads one PDU from a server and says how long it is.
func parsePDU(b []byte) (pdu, int, error) {
	if len(b) < pduHeader {
		return pdu{}, 0, errShortPDU
	}
	n, err := pduLength(b)
	if err != nil {
		return pdu{}, 0, err
	}
	if len(b) < n {
		return pdu{}, 0, errShortPDU
	}
	p := pdu{kind: pduType(b[pduOffType]), flags: b[pduOffFlags], call: binary.LittleEndian.Uint32(b[pduOffCall:])}
	fixed, ok := pduFixed[p.kind]
	if !ok {
		return pdu{}, 0, fmt.Errorf("%w: %s", errPDUType, p.kind)
	}
	end := n
	if auth := int(binary.LittleEndian.Uint16(b[pduOffAuth:])); auth > 0 {
		end -= auth + pduTrailer
		if end < pduHeader+fixed {
			return pdu{}, 0, errPDUAuth
		}
		p.auth = b[end:n:n]
	}
	if end < pduHeader+fixed {
		return pdu{}, 0, errShortPDU
	}
	p.body = b[pduHeader:end:end]
	return p, n, nil
}

// pduLength is the length of the PDU that a header begins.
func pduLength(h []byte) (int, error) {
	// The minor version is 0 or 1 in C706, but servers answer with the client's.
	if h[0] != pduVersion || h[1] != 0 || [4]byte(h[pduOffRep:]) != [4]byte{pduDataRep} {
		return 0, errBadPDU
	}
	n := int(binary.LittleEndian.Uint16(h[pduOffLen:]))
	if n < pduHeader {
		return 0, errShortPDU
	}
	if n > maxFragment {
		return 0, errBigPDU
	}
	return n, nil
}

// Append appends the PDU.
func (p *pdu) Append(b []byte) []byte {
	auth := max(len(p.auth)-pduTrailer, 0)
	b = append(b, pduVersion, 0, byte(p.kind), p.flags, pduDataRep, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(pduHeader+len(p.body)+len(p.auth)))
	b = binary.LittleEndian.AppendUint16(b, uint16(auth))
	b = binary.LittleEndian.AppendUint32(b, p.call)
	b = append(b, p.body...)
	return append(b, p.auth...)
}

// readPDU reads one from a stream, into buf if it is large enough, and returns its
// octets beside it.
func readPDU(r io.Reader, buf []byte) (pdu, []byte, error) {
	if len(buf) < maxFragment {
		buf = make([]byte, maxFragment)
	}
	if _, err := io.ReadFull(r, buf[:pduHeader]); err != nil {
		return pdu{}, nil, err
	}
	n, err := pduLength(buf)
	if err != nil {
		return pdu{}, nil, err
	}
	if _, err := io.ReadFull(r, buf[pduHeader:n]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return pdu{}, nil, err
	}
	p, _, err := parsePDU(buf[:n])
	return p, buf[:n], err
}

// syntax identifies an interface or a transfer syntax: a UUID as DCE/RPC sends it,
// its first three fields little-endian, and a version.
type syntax struct {
	uuid         [16]byte
	major, minor uint16
}

var (
	// 12345678-1234-abcd-ef00-01234567cffb
	netlogonInterface = syntax{[16]byte{0x78, 0x56, 0x34, 0x12, 0x34, 0x12, 0xcd, 0xab, 0xef, 0x00, 0x01, 0x23, 0x45, 0x67, 0xcf, 0xfb}, 1, 0}
	// 12345778-1234-abcd-ef00-0123456789ac
	samrInterface = syntax{[16]byte{0x78, 0x57, 0x34, 0x12, 0x34, 0x12, 0xcd, 0xab, 0xef, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xac}, 1, 0}
	// e1af8308-5d1f-11c9-91a4-08002b14a0fa
	mapperInterface = syntax{[16]byte{0x08, 0x83, 0xaf, 0xe1, 0x1f, 0x5d, 0xc9, 0x11, 0x91, 0xa4, 0x08, 0x00, 0x2b, 0x14, 0xa0, 0xfa}, 3, 0}
	// 8a885d04-1ceb-11c9-9fe8-08002b104860
	transferNDR = syntax{[16]byte{0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60}, 2, 0}
)

func (s *syntax) append(b []byte) []byte {
	b = append(b, s.uuid[:]...)
	b = binary.LittleEndian.AppendUint16(b, s.major)
	return binary.LittleEndian.AppendUint16(b, s.minor)
}

// bindBody asks for one presentation context, number 0 (C706 §12.6.4.3).
func bindBody(s *syntax) []byte {
	b := binary.LittleEndian.AppendUint16(nil, maxFragment)
	b = binary.LittleEndian.AppendUint16(b, maxFragment)
	b = append(b, 0, 0, 0, 0) // no association group yet
	b = append(b, 1, 0, 0, 0) // one context
	b = append(b, 0, 0, 1, 0) // number 0, one transfer syntax
	b = s.append(b)
	return transferNDR.append(b)
}

var errBindRefused = errors.New("bind was refused")

// parseBindAck reads the body of a bind-ack: our one context must be accepted (C706
// §12.6.4.4). The two sizes must be what a client can work with: go-msrpc takes
// them as they come.
func parseBindAck(body []byte) error {
	d := decoder{b: body}
	xmit, recv := d.uint16(), d.uint16()
	d.uint32()                   // association group
	d.octets(uint32(d.uint16())) // secondary address
	d.align(4)
	results := d.octets(4)
	result, reason := d.uint16(), d.uint16()
	d.octets(20) // transfer syntax
	switch {
	case d.short || results[0] == 0:
		return errShortPDU
	case xmit < minFragment || recv < minFragment:
		return fmt.Errorf("%w: fragments of %d and %d octets", errBadPDU, xmit, recv)
	case result != 0:
		return fmt.Errorf("%w: result %d, reason %d", errBindRefused, result, reason)
	}
	return nil
}

// fault is a call's failure before or inside the server's procedure (C706
// §12.6.4.7). Nothing protects it, so it is never a word about a user.
type fault uint32

// C706 appendix E and MS-RPCE §3.1.1.5.5: those that mean something to an operator.
const (
	faultAccessDenied  fault = 0x00000005
	faultLogonFailure  fault = 0x0000052E // ERROR_LOGON_FAILURE
	faultSecurity      fault = 0x00000721 // RPC_S_SEC_PKG_ERROR
	faultNoCall        fault = 0x1C010002 // nca_s_op_rng_error
	faultNoInterface   fault = 0x1C010003 // nca_s_unk_if
	faultBadStub       fault = 0x000006F7 // RPC_X_BAD_STUB_DATA
	faultContextBroken fault = 0x1C00001A // nca_s_fault_context_mismatch
)

var faultNames = map[fault]string{
	faultAccessDenied: "access denied", faultLogonFailure: "logon failure", faultSecurity: "security package error",
	faultNoCall: "no such call", faultNoInterface: "no such interface", faultBadStub: "bad stub data",
	faultContextBroken: "context mismatch",
}

// Error implements error.
func (f fault) Error() string {
	if s, ok := faultNames[f]; ok {
		return fmt.Sprintf("RPC fault 0x%08X: %s", uint32(f), s)
	}
	return fmt.Sprintf("RPC fault 0x%08X", uint32(f))
}

// parseFault reads the body of a fault.
func parseFault(body []byte) error {
	d := decoder{b: body}
	d.octets(8) // alloc_hint, p_cont_id, cancel_count
	f := fault(d.uint32())
	if d.short {
		return errShortPDU
	}
	return f
}
