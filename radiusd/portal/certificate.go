package portal

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is how often the files are looked at. Renewals are hours ahead.
const lookEvery = 15 * time.Second

// certificate is the pair in force. Connections that are open keep theirs.
type certificate struct {
	log     *slog.Logger
	current atomic.Pointer[tls.Certificate]

	mu        sync.Mutex
	cert, key string
	sum       [sha256.Size]byte // of the files in force
	broken    [sha256.Size]byte // of files that were complained about
}

// readPair reads certificate and key, and says by a sum what it read.
func readPair(cert, key string) (*tls.Certificate, [sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	c, err := os.ReadFile(cert)
	if err != nil {
		return nil, sum, fmt.Errorf("portal: load certificate: %w", err)
	}
	k, err := os.ReadFile(key)
	if err != nil {
		return nil, sum, fmt.Errorf("portal: load key: %w", err)
	}
	defer clear(k)
	h := sha256.New()
	h.Write(c)
	h.Write([]byte{0})
	h.Write(k)
	h.Sum(sum[:0])
	pair, err := tls.X509KeyPair(c, k)
	if err != nil {
		return nil, sum, fmt.Errorf("portal: %s and %s: %w", cert, key, err)
	}
	return &pair, sum, nil
}

// load puts the files' pair in force if it is another one. A broken pair changes
// nothing.
func (c *certificate) load(cert, key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	pair, sum, err := readPair(cert, key)
	if err != nil {
		c.broken = sum
		return err
	}
	c.cert, c.key = cert, key
	if c.current.Load() != nil && sum == c.sum {
		return nil
	}
	c.sum = sum
	c.current.Store(pair)
	c.log.Info("portal's certificate in force", "file", cert, "names", pair.Leaf.DNSNames, "not_after", pair.Leaf.NotAfter)
	return nil
}

// look loads again what has changed. The same broken files are complained about once:
// they may be half written.
func (c *certificate) look() {
	c.mu.Lock()
	cert, key, broken := c.cert, c.key, c.broken
	c.mu.Unlock()
	if err := c.load(cert, key); err != nil {
		c.mu.Lock()
		again := c.broken == broken
		c.mu.Unlock()
		if !again {
			c.log.Warn("portal's certificate stays as it was", "error", err)
		}
	}
}

// watch looks now and then until ctx ends.
func (c *certificate) watch(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			c.look()
		case <-ctx.Done():
			return
		}
	}
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// expires is when the certificate in force does, in seconds since 1970.
func (c *certificate) expires() float64 {
	if pair := c.current.Load(); pair != nil && pair.Leaf != nil {
		return float64(pair.Leaf.NotAfter.Unix())
	}
	return 0
}
