package radius

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ReadPacket reads one packet of a stream (RFC 6613 §2.6: the Length field frames
// it) into buf, which must hold MaxPacket octets, and returns the part used. After
// an error the stream is at no packet's start and must be closed. io.EOF means that
// it ended between two packets.
func ReadPacket(r io.Reader, buf []byte) ([]byte, error) {
	if len(buf) < MaxPacket {
		return nil, fmt.Errorf("read packet into %d octets: %w", len(buf), io.ErrShortBuffer)
	}
	if _, err := io.ReadFull(r, buf[:offAuth]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buf[offLength:]))
	if n < HeaderLen || n > MaxPacket {
		return nil, FaultLength
	}
	if _, err := io.ReadFull(r, buf[offAuth:n]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return buf[:n:n], nil
}

// WritePacket writes one encoded packet in one call, so that callers who share a
// stream need a lock only around it. Its Length field must be what it has.
func WritePacket(w io.Writer, b []byte) error {
	if len(b) < HeaderLen || len(b) > MaxPacket || int(binary.BigEndian.Uint16(b[offLength:])) != len(b) {
		return FaultLength
	}
	_, err := w.Write(b)
	return err
}
