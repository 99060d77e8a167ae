package ad

import "strconv"

// uac is userAccountControl and msDS-User-Account-Control-Computed ([MS-ADTS]
// §2.2.16). What time makes of an account is in the computed one only.
type uac uint32

const (
	uacDisabled        uac = 0x00000002
	uacLockout         uac = 0x00000010 // computed
	uacNormal          uac = 0x00000200
	uacWorkstation     uac = 0x00001000
	uacNeverExpires    uac = 0x00010000 // the password
	uacSmartcard       uac = 0x00040000
	uacPasswordExpired uac = 0x00800000 // computed
)

// readUAC reads an attribute; one that is absent or no number has no flag.
func readUAC(text string) uac {
	// AD's integers are signed: the highest flag makes it negative.
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || int64(int32(v)) != v && int64(uint32(v)) != v {
		return 0
	}
	return uac(v)
}

func (u uac) has(flag uac) bool { return u&flag != 0 }

// text writes the attribute.
func (u uac) text() string { return strconv.FormatInt(int64(int32(u)), 10) }
