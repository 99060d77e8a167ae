package radius

import (
	"errors"
	"net"
	"testing"
	"time"
)

// A server that signs no reply is believed about accounting where that was asked for, and
// about nothing else.
func TestUnsignedAccounting(t *testing.T) {
	secret := NewSecret("secret")
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		buf := make([]byte, MaxPacket)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			code := CodeAccessAccept
			if n >= HeaderLen && Code(buf[offCode]) == CodeAccountingRequest {
				code = CodeAccountingResponse
			}
			reply := make([]byte, HeaderLen)
			reply[offCode], reply[offIdentifier], reply[3] = byte(code), buf[offIdentifier], HeaderLen
			auth := [authLen]byte(buf[offAuth:])
			sum := authenticator(reply, &auth, secret.Bytes())
			copy(reply[offAuth:], sum[:])
			_, _ = conn.WriteTo(reply, from)
		}
	}()
	for _, row := range []struct {
		believe bool
		code    Code
		ok      bool
	}{
		{true, CodeAccountingRequest, true}, {false, CodeAccountingRequest, false},
		{true, CodeAccessRequest, false}, {false, CodeAccessRequest, false},
	} {
		c, err := NewClient(ClientConfig{Name: "test", Timeout: 200 * time.Millisecond, Servers: []Server{{
			Name: "s", Network: "udp", Addr: conn.LocalAddr().String(), AcctAddr: conn.LocalAddr().String(), Secret: secret, UnsignedAccounting: row.believe,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Exchange(t.Context(), NewRequest(row.code, Secret{}))
		c.Close()
		if (err == nil) != row.ok || err != nil && !errors.Is(err, ErrNoAnswer) {
			t.Errorf("%+v: %v", row, err)
		}
	}
}
