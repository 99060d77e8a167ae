package radius

import (
	"fmt"
	"log/slog"
)

// Secret is a shared secret that does not print, whatever asks: fmt with any verb,
// slog, JSON, or a struct that holds one in a private field. Those fmt reaches past
// every method, and for a verb that fits nothing it even follows one pointer: hence
// two. The zero Secret is none, and nothing is signed or checked with it.
type Secret struct{ octets **[]byte }

// RadSecSecret is what RFC 6614 §2.3 (4) fixes for RADIUS over TLS, where the
// certificates do the work.
func RadSecSecret() Secret { return NewSecret("radsec") }

// NewSecret copies v.
func NewSecret[T ~string | ~[]byte](v T) Secret {
	if len(v) == 0 {
		return Secret{}
	}
	b := append([]byte(nil), v...)
	inner := &b
	return Secret{&inner}
}

// Bytes returns the secret itself; it must not be changed.
func (s Secret) Bytes() []byte {
	if s.octets == nil {
		return nil
	}
	return **s.octets
}

// IsZero says that there is no secret.
func (s Secret) IsZero() bool { return s.octets == nil }

const redacted = "[secret]"

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
