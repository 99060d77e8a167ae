// Package portal is the page where people give their second factor and look after it:
// HTML made here, plain first (HTML 4.01 forms, no script needed), over HTTPS and
// nothing else (RFC 9110, RFC 9112, RFC 9113; RFC 6797).
//
//	/s/TOKEN ─► /step-up ─► /done          a session in quarantine (captive redirect)
//	/ ─► /sign-in ─► /                     outside any session: password and code
//	/enrol ─► /enrol/device ─► /recovery   ticket, trusted network, or a factor
//	/security, /again                      devices, recovery codes, remembered places
//
// It decides nothing about people: a [Backend] does, with the same shield, counters
// and audit log as logins. What is the portal's own is the browser.
//
// Who a browser is:
//
//	__Host-postern         random; names a record in the store, sealed, after a proof
//	__Host-postern-form    random; the forms of somebody who has proved nothing
//	__Host-postern-visit   the reference of a quarantined session, as /s/ was given it
//	__Host-postern-ticket  an operator's ticket until it is used
//	__Host-postern-lang    the language that was chosen
//
// Nothing is written to the store for somebody who has proved nothing, but counters of
// a minute. Any service reads what another wrote; a session's name changes whenever
// somebody proves something.
//
// A form counts when the browser says that it comes from here (Sec-Fetch-Site, or
// Origin where a browser has no such header) and it carries the HMAC of its action
// under the cookie it belongs to (OWASP's signed double submit; bound to the session
// once there is one).
//
// Left out: RFC 8908 (the captive portal's API: a PPTP client has no DHCP to tell of
// it), remembering browsers, and changing passwords.
package portal
