package proxy

import (
	"strings"
	"testing"

	"layeh.com/radius/rfc2865"

	"postern/authz/directory"
	"postern/internal/radius"
)

// TestRejects has a row for each answer of RFC 2759 §6, and what servers make of it.
func TestRejects(t *testing.T) {
	for _, row := range []struct {
		text   string
		reason directory.Reason
		state  directory.State
		detail string
	}{
		{"E=646 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Logon hours", directory.AccountState, directory.OutsideHours, `E=646 from upstream: "Logon hours"`},
		{"E=647 R=0 V=3", directory.AccountState, directory.Disabled, "E=647 from upstream"},
		{"E=647 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Account disabled", directory.AccountState, directory.Disabled, `E=647 from upstream: "Account disabled"`},
		{"E=647 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Account locked out", directory.AccountState, directory.Locked, `E=647 from upstream: "Account locked out"`},
		{"E=648 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Password Expired", directory.AccountState, directory.PasswordExpired, `E=648 from upstream: "Password Expired"`},
		{"E=649 R=0 V=3", directory.AccountState, directory.NoDialin, "E=649 from upstream"},
		{"E=691 R=1 C=00112233445566778899AABBCCDDEEFF V=3 M=Authentication failed", directory.WrongPassword, directory.StateUnknown, `E=691 from upstream: "Authentication failed"`},
		{"E=648 R=0 C=a288d8216dd73921 V=2", directory.AccountState, directory.PasswordExpired, "E=648 from upstream"}, // FreeRADIUS to MS-CHAPv1
		{"E=691 R=0 C=a288d8216dd73921 V=2", directory.WrongPassword, directory.StateUnknown, "E=691 from upstream"},
		{"R=0 E=648", directory.AccountState, directory.PasswordExpired, "E=648 from upstream"},
		{"E=691 R=0 V=3 M=E=648", directory.WrongPassword, directory.StateUnknown, `E=691 from upstream: "E=648"`},
		{"E=-648", directory.WrongPassword, directory.StateUnknown, "Access-Reject from upstream with an unreadable MS-CHAP-Error"},
		{"E=99999999999999999999", directory.WrongPassword, directory.StateUnknown, "Access-Reject from upstream with an unreadable MS-CHAP-Error"},
		{"E=691 R=0", directory.WrongPassword, directory.StateUnknown, "E=691 from upstream"},
		{"E=709 R=0 V=3", directory.WrongPassword, directory.StateUnknown, "E=709 from upstream"},
		{"E=12345 R=0 V=3 M=\x1b[2J", directory.WrongPassword, directory.StateUnknown, `E=12345 from upstream: "\x1b[2J"`},
		{"nonsense", directory.WrongPassword, directory.StateUnknown, "Access-Reject from upstream with an unreadable MS-CHAP-Error"},
		{"", directory.WrongPassword, directory.StateUnknown, "Access-Reject from upstream"},
	} {
		u := newUpstream()
		u.answer = func(q *radius.Packet) *radius.Packet { return reject(q, 0x5a, row.text) }
		for _, typed := range []string{"alice", "alice+123456"} {
			_, err := dial(typed, bareName("alice"), "Alice-Pass1").verify(u.open(t, nil))
			if r := wantRejected(t, err, row.reason, row.state); r.Detail != row.detail {
				t.Errorf("%q: detail %q, want %q", row.text, r.Detail, row.detail)
			} else if strings.Contains(r.Detail, "00112233") {
				t.Errorf("%q: the challenge is in the detail", row.text)
			}
		}
	}
	u := newUpstream()
	u.answer = func(q *radius.Packet) *radius.Packet {
		r := radius.NewReply(q, radius.CodeAccessReject)
		_ = rfc2865.ReplyMessage_AddString(r, "no such\nuser")
		return r
	}
	_, err := dial("alice", bareName("alice"), "Alice-Pass1").verify(u.open(t, nil))
	if r := wantRejected(t, err, directory.WrongPassword, directory.StateUnknown); r.Detail != `Access-Reject from upstream: "no such\nuser"` {
		t.Errorf("detail %q", r.Detail)
	}
}
