package seal

// Current is the ID of the key that seals and digests; "": the ring has none.
func (r *Ring) Current() string {
	if r == nil || len(r.keys) == 0 {
		return ""
	}
	return r.keys[0].id
}

// DigestUnder is Digest under the key of that ID, for who looks for digests that were
// made before a rotation.
func (r *Ring) DigestUnder(id, purpose, subject string, secret []byte) (string, error) {
	if r != nil {
		for i := range r.keys {
			if r.keys[i].id == id {
				return r.keys[i].digest(purpose, subject, secret), nil
			}
		}
	}
	return "", ErrKey
}
