package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"postern/internal/report"
)

// Times of one request, ours.
const (
	requestTime = 20 * time.Second
	dialTime    = 10 * time.Second
)

// service is the portal of a Postern service.
type service struct {
	url  string
	http *http.Client
}

// pinPrefix is how pins are written: the SHA-256 of the certificate's public key (RFC
// 7469 §2.4), in base64.
const pinPrefix = "sha256/"

// newService makes a client. The service is known by a CA's name for it, or by its own
// key alone. There is no proxy: where the report comes from is a part of it.
func newService(server, ca, pin string) (*service, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.TrimSuffix(server, "/") != "https://"+u.Host {
		return nil, fmt.Errorf("server %q is not https://HOST or https://HOST:PORT", server)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("the CA's file has no certificate")
		}
	}
	if pin != "" {
		want, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(pin, pinPrefix))
		if err != nil || len(want) != sha256.Size || !strings.HasPrefix(pin, pinPrefix) {
			return nil, fmt.Errorf("pin is not %sBASE64", pinPrefix)
		}
		conf.InsecureSkipVerify = true // the key itself is compared instead
		conf.VerifyConnection = func(s tls.ConnectionState) error {
			got := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if subtle.ConstantTimeCompare(got[:], want) != 1 {
				return fmt.Errorf("the server's key is %s%s, not the one that is pinned", pinPrefix, base64.StdEncoding.EncodeToString(got[:]))
			}
			return nil
		}
	}
	transport := &http.Transport{TLSClientConfig: conf, TLSHandshakeTimeout: dialTime, DisableKeepAlives: true, ForceAttemptHTTP2: true}
	return &service{strings.TrimSuffix(server, "/"), &http.Client{
		Transport: transport, Timeout: requestTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// post sends something and reads the reply.
func (s *service) post(ctx context.Context, path string, body []byte) (*report.Reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", report.ContentType)
	req.Header.Set("User-Agent", "postern-agent")
	res, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, report.MaxReply+1))
	if err != nil {
		return nil, err
	}
	r, err := report.ParseReply(b)
	if err != nil {
		return nil, fmt.Errorf("%s is no Postern service, or one without agents: it says %s", s.url, res.Status)
	}
	return r, nil
}

// refused is a refusal as an error.
type refused struct{ reply *report.Reply }

func (r *refused) Error() string {
	text := "refused: " + r.reply.Refused.Text()
	if r.reply.Refused == report.Clock {
		text += ": the service's says " + r.reply.Time.Format(time.RFC3339)
	}
	return text
}
