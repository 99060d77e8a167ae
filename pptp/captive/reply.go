package captive

import (
	"html"
	"strconv"
	"time"
)

// Answer is what a connection got.
//
// Handled in: answerNames, the metric's label; appendReply.
type Answer uint8

const (
	AnswerUnknown     Answer = iota
	AnswerRedirect           // 302 to the session's URL
	AnswerFree               // 503: not held back any more, to be tried again
	AnswerStranger           // 403: no client of ours
	AnswerMalformed          // 400: no HTTP
	AnswerTooLong            // 431
	AnswerSilent             // none: no request in time
	AnswerBusy               // none: too many connections
	AnswerUndelivered        // the client did not take it
	numAnswers
)

var answerNames = [numAnswers]string{
	AnswerUnknown: "unknown", AnswerRedirect: "redirect", AnswerFree: "free", AnswerStranger: "stranger", AnswerMalformed: "malformed",
	AnswerTooLong: "too long", AnswerSilent: "silent", AnswerBusy: "busy", AnswerUndelivered: "undelivered",
}

// String returns the metric's label.
func (a Answer) String() string {
	if a < numAnswers {
		return answerNames[a]
	}
	return answerNames[AnswerUnknown]
}

// retryAfter is in seconds: the packet filter has been changed already.
const retryAfter = "1"

// appendReply appends a whole response. It is made of constants and, for a redirect,
// of the URL that a service gave, which CheckURL has passed.
func appendReply(dst []byte, now time.Time, a Answer, url string, head bool) []byte {
	status, extra, body := "403 Forbidden", "", ""
	switch a {
	case AnswerRedirect:
		status, extra = "302 Found", "Location: "+url+"\r\n"
		body = page("Sign-in needed", `<p>This connection is held back until you have signed in. <a href="`+html.EscapeString(url)+`">Continue</a></p>`)
	case AnswerFree:
		status, extra = "503 Service Unavailable", "Retry-After: "+retryAfter+"\r\n"
		body = page("Try again", "<p>This connection is not held back any more. Please try again.</p>")
	case AnswerMalformed:
		status = "400 Bad Request"
	case AnswerTooLong:
		status = "431 Request Header Fields Too Large"
	default: // a stranger learns nothing, and the rest gets no answer
	}
	dst = append(dst, "HTTP/1.1 "+status+"\r\nDate: "...)
	dst = now.UTC().AppendFormat(dst, "Mon, 02 Jan 2006 15:04:05 GMT") // RFC 9110 §5.6.7
	dst = append(dst, "\r\nConnection: close\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"...)
	dst = append(dst, "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'\r\n"+extra...)
	if body != "" {
		dst = append(dst, "Content-Type: text/html; charset=utf-8\r\n"...)
	}
	dst = append(dst, "Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"...)
	if head {
		return dst
	}
	return append(dst, body...)
}

// page is HTML that any browser of the last 25 years shows.
func page(title, body string) string {
	return "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + title + "</title></head><body>" + body + "</body></html>\n"
}
