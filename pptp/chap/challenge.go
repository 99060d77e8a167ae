package chap

// maxChallengeName is what RFC 2759 §3 allows; a server's name may as well be
// missing, since nothing depends on it.
const maxChallengeName = 256

// challenge is the data of a Challenge, RFC 2759 §3. 16 octets of value tell it
// from MS-CHAP-V1's 8.
type challenge struct {
	Value [16]byte
	Name  string
}

func parseChallenge(b []byte) (challenge, error) {
	var c challenge
	if len(b) < 1+len(c.Value) || int(b[0]) != len(c.Value) {
		return challenge{}, ErrValue
	}
	copy(c.Value[:], b[1:])
	name := b[1+len(c.Value):]
	if len(name) > maxChallengeName {
		return challenge{}, ErrName
	}
	c.Name = string(name)
	return c, nil
}

func (c challenge) Append(b []byte) []byte {
	b = append(b, byte(len(c.Value)))
	b = append(b, c.Value[:]...)
	return append(b, c.Name...)
}
