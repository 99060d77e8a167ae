// Package captive answers the plain HTTP of clients that are held back until their
// user has given a second factor: whatever they ask for, they are sent to the page
// where that is done. The packet filter leads their TCP port 80 here.
//
//	client  GET / HTTP/1.1              captive  HTTP/1.1 302 Found
//	        Host: anything at all                Location: the session's URL
//
// It speaks as much of RFC 9110 and RFC 9112 as that takes: a request is read up to
// the empty line behind its header and forgotten; nothing of it appears in an answer,
// in a log or in a label. One connection, one request, one answer. Who is not held
// back learns nothing (403), and who has just been let through is asked to try again
// (503 with Retry-After): he is never sent to where he says that he wanted to go.
//
// Left out on purpose: TLS, which cannot be redirected without a warning; persistent
// connections; RFC 8908 and RFC 8910, whose clients speak no PPTP.
//
// What a client can make it spend is bounded in octets, in time and in connections,
// each client for itself and all together.
package captive
