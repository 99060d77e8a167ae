package webauthn

import (
	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
)

// maxResponse bounds what a browser may send. Without an attestation a registration
// has some 2 KB, 5 KB with the longest key ID there may be.
const maxResponse = 16 << 10

// parseRegistration reads what create() returned, as JSON (§5.1.9
// RegistrationResponseJSON).
func parseRegistration(b []byte) (*protocol.ParsedCredentialCreationData, error) {
	if len(b) == 0 || len(b) > maxResponse {
		return nil, ErrResponse
	}
	p, err := protocol.ParseCredentialCreationResponseBytes(b)
	if err != nil {
		return nil, ErrResponse
	}
	// We ask for no attestation. A browser then sends none, or one that the key made
	// with itself (§5.1.3 step 25); the other formats, which bring certificates along
	// to be parsed, are not for us.
	o := &p.Response.AttestationObject
	_, certified := o.AttStatement["x5c"]
	if o.Format != string(protocol.AttestationFormatNone) && (o.Format != string(protocol.AttestationFormatPacked) || certified) {
		return nil, ErrResponse
	}
	d := &o.AuthData.AttData
	if len(d.CredentialID) == 0 || len(d.CredentialID) > maxKeyID || len(d.CredentialPublicKey) > maxPublicKey || len(p.Response.Transports) > maxTransports {
		return nil, ErrResponse
	}
	if _, err := webauthncose.ParsePublicKey(d.CredentialPublicKey); err != nil {
		return nil, ErrResponse // without an attestation nothing else looks at it before the first assertion
	}
	return p, nil
}

// parseAssertion reads what get() returned, as JSON (§5.1.9
// AuthenticationResponseJSON).
func parseAssertion(b []byte) (*protocol.ParsedCredentialAssertionData, error) {
	if len(b) == 0 || len(b) > maxResponse {
		return nil, ErrResponse
	}
	p, err := protocol.ParseCredentialRequestResponseBytes(b)
	if err != nil || len(p.RawID) > maxKeyID {
		return nil, ErrResponse
	}
	return p, nil
}
