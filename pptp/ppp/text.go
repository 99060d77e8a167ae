package ppp

import "encoding/hex"

// maxText bounds what we keep of a peer's words. Windows' computer names
// ("MSRAS-0-" and up to 63 octets) fit.
const maxText = 128

// printable makes a peer's words safe for a log line: printable ASCII as it is,
// anything else as hex. Windows' third Identification is 16 raw octets.
func printable(b []byte) string {
	b = b[:min(len(b), maxText)]
	for _, c := range b {
		if c < ' ' || c > '~' {
			return "0x" + hex.EncodeToString(b)
		}
	}
	return string(b)
}
