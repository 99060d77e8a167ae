//go:build integration

package chromium

import (
	"cmp"

	"github.com/chromedp/cdproto/webauthn"
)

// Key is a security key in the browser's virtual socket (CTAP 2): touched at once,
// and with a PIN that is right or wrong.
type Key struct {
	b    *Browser
	id   webauthn.AuthenticatorID
	name string // of the copies: Chromium does not tell it of what was put in
}

// NewKey plugs a key in. Verified says whether its user knows the PIN.
func (b *Browser) NewKey(verified bool) *Key {
	b.t.Helper()
	call(b, webauthn.Enable, webauthn.EnableParams{})
	r := call(b, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportUsb,
		HasUserVerification: true, IsUserVerified: verified, AutomaticPresenceSimulation: true,
	}})
	return &Key{b: b, id: r.AuthenticatorID}
}

// Verify sets whether the user knows the PIN from here on.
func (k *Key) Verify(verified bool) {
	k.b.t.Helper()
	call(k.b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: k.id, IsUserVerified: verified})
}

// Unplug takes it out.
func (k *Key) Unplug() {
	k.b.t.Helper()
	call(k.b, webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: k.id})
}

// Held are the names it is bound to and the counters they have reached, in the order
// they were made.
func (k *Key) Held() (names []string, counts []int) {
	k.b.t.Helper()
	for _, c := range call(k.b, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: k.id}).Credentials {
		names = append(names, c.RpID)
		counts = append(counts, int(c.SignCount))
	}
	return names, counts
}

// Rewind sets the counters back, as in a copy that was made earlier. The copy is put in
// the key's place: not every Chromium changes a counter where it is.
func (k *Key) Rewind(count int) {
	k.b.t.Helper()
	for _, c := range call(k.b, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: k.id}).Credentials {
		call(k.b, webauthn.RemoveCredential, webauthn.RemoveCredentialParams{AuthenticatorID: k.id, CredentialID: c.CredentialID})
		k.name = cmp.Or(c.RpID, k.name)
		c.RpID, c.SignCount = k.name, float64(count)
		call(k.b, webauthn.AddCredential, webauthn.AddCredentialParams{AuthenticatorID: k.id, Credential: c})
	}
}
