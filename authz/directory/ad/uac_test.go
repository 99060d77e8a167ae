package ad

import "testing"

func TestUAC(t *testing.T) {
	for _, c := range []struct {
		text string
		want uac
	}{
		{"512", uacNormal}, {"514", uacNormal | uacDisabled}, {"262656", uacNormal | uacSmartcard}, {"66048", uacNormal | uacNeverExpires},
		{"8388608", uacPasswordExpired}, {"8388624", uacPasswordExpired | uacLockout}, {"-2147483648", 0x80000000}, {"2147483648", 0x80000000},
		{"4294967296", 0}, {"", 0}, {"x", 0}, {"99999999999999999999", 0},
	} {
		if got := readUAC(c.text); got != c.want {
			t.Errorf("%q: %#x, want %#x", c.text, got, c.want)
		}
	}
	if !uac(0x202).has(uacDisabled) || uac(0x200).has(uacDisabled) {
		t.Error("flags are not told apart")
	}
}
