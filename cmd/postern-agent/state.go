package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"postern/internal/report"
)

// What lies in the agent's directory:
//
//	private/key.pem      the device's key (PKCS #8); root or SYSTEM alone
//	private/agent.json   the service, and who this is to it
//	private/seq          the number of the last report
//	status.json          the answer to the last report; everybody reads it
//	requests/now         somebody wants a report; everybody may write it
const (
	privateDir  = "private"
	requestsDir = "requests"
	keyFile     = "key.pem"
	configFile  = "agent.json"
	seqFile     = "seq"
	statusFile  = "status.json"
	requestFile = "now"
)

func (a *agent) private(name string) string { return filepath.Join(a.dir, privateDir, name) }

// identity is who this computer is to a service.
type identity struct {
	Server string `json:"server"`
	Device string `json:"device"`
	User   string `json:"user"`
	CA     string `json:"ca,omitempty"`  // PEM; "": the system's
	Pin    string `json:"pin,omitempty"` // instead of any
	key    ed25519.PrivateKey
}

var errNotEnrolled = errors.New("this computer is not enrolled: `postern-agent enrol` with a ticket of your service")

// identity reads it.
func (a *agent) identity() (*identity, error) {
	b, err := os.ReadFile(a.private(configFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNotEnrolled
	case err != nil:
		return nil, err
	}
	id := new(identity)
	if err := json.Unmarshal(b, id); err != nil || !report.ValidID(id.Device) {
		return nil, fmt.Errorf("%s is broken", a.private(configFile))
	}
	text, err := os.ReadFile(a.private(keyFile))
	if err != nil {
		return nil, err
	}
	if id.key, err = readKey(text); err != nil {
		return nil, fmt.Errorf("%s: %w", a.private(keyFile), err)
	}
	return id, nil
}

// readKey reads the key's file. What is wrong with it is never a part of it.
func readKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyType {
		return nil, errors.New("no private key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("no private key")
	}
	k, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("no key of Ed25519")
	}
	return k, nil
}

const keyType = "PRIVATE KEY"

// keep stores a new identity. The key goes first: without it the rest is nothing.
func (a *agent) keep(id *identity) error {
	der, err := x509.MarshalPKCS8PrivateKey(id.key)
	if err != nil {
		return err
	}
	config, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	if err := replace(a.private(keyFile), pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: der}), 0o600); err != nil {
		return err
	}
	return replace(a.private(configFile), append(config, '\n'), 0o600)
}

// nextSeq takes the next number: higher than all before, also after the directory was
// restored from a backup. Two programs at once may take them in the wrong order; the
// service refuses the second report then, and another is made.
func (a *agent) nextSeq(now time.Time) (int64, error) {
	b, err := os.ReadFile(a.private(seqFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	last, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // of a broken file 0
	seq := max(last+1, now.UnixMilli())
	return seq, replace(a.private(seqFile), []byte(strconv.FormatInt(seq, 10)+"\n"), 0o600)
}

// status is the answer to the last report.
type status struct {
	Time   time.Time `json:"time"`
	OK     bool      `json:"ok"`
	Device string    `json:"device"`
	Answer string    `json:"answer"`
}

func (a *agent) saveStatus(s *status) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return replace(filepath.Join(a.dir, statusFile), append(b, '\n'), 0o644)
}

func (a *agent) readStatus() (*status, error) {
	b, err := os.ReadFile(filepath.Join(a.dir, statusFile))
	if err != nil {
		return nil, err
	}
	s := new(status)
	return s, json.Unmarshal(b, s)
}

// replace writes a file as a whole or not at all, under a name of its own until then.
func replace(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
