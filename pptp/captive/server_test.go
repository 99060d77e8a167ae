package captive

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const portalURL = "https://portal.example.org/s/token?a=1&b=2"

var (
	held     = netip.MustParseAddr("10.80.0.10")
	free     = netip.MustParseAddr("10.80.0.11")
	unknown  = netip.MustParseAddr("10.80.0.12")
	mistaken = netip.MustParseAddr("10.80.0.13")
)

func lookup(a netip.Addr) (Standing, string) {
	switch a {
	case held:
		return Held, portalURL
	case free:
		return Free, ""
	case mistaken:
		return Held, "javascript:alert(1)"
	}
	return Stranger, ""
}

// pipes is a listener whose connections are pipes, so that the clock may be virtual.
type pipes struct {
	come chan net.Conn
	once sync.Once
	done chan struct{}
}

func newPipes() *pipes { return &pipes{come: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.come:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return new(net.TCPAddr) }

// from is a pipe's end that says where it comes from.
type from struct {
	net.Conn
	addr netip.Addr
}

func (f from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.addr, 40000))
}

// dial connects as a client.
func (p *pipes) dial(a netip.Addr) net.Conn {
	near, far := net.Pipe()
	p.come <- from{far, a}
	return near
}

// world is a server on pipes, in a bubble.
type world struct {
	t *testing.T
	*pipes
	server *Server
	reg    *prometheus.Registry
	ended  chan error
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, pipes: newPipes(), reg: prometheus.NewRegistry(), ended: make(chan error, 1)}
	w.server = New(Config{Lookup: lookup, Metrics: w.reg})
	go func() { w.ended <- w.server.Serve(w.pipes) }() // waited for in close
	return w
}

func (w *world) close() {
	w.server.Close()
	if err := <-w.ended; err != nil {
		w.t.Error(err)
	}
}

func (w *world) counted(a Answer) float64 {
	w.t.Helper()
	var m dto.Metric
	if err := w.server.answers.WithLabelValues(a.String()).Write(&m); err != nil {
		w.t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// ask sends a request and returns all that came back.
func (w *world) ask(a netip.Addr, request string) string {
	w.t.Helper()
	c := w.dial(a)
	defer c.Close()
	go func() { _, _ = io.WriteString(c, request) }() // ends with the connection
	b, _ := io.ReadAll(c)
	return string(b)
}

// reply is an answer as a client reads it.
type reply struct {
	status int
	header http.Header
	http11 bool
	last   bool // the connection closes behind it
	body   string
}

func parse(t *testing.T, method, text string) reply {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{r.StatusCode, r.Header, r.ProtoAtLeast(1, 1), r.Close, string(b)}
}

func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		const get = "GET /evil?marker HTTP/1.1\r\nHost: marker.example\r\nCookie: marker=1\r\n\r\n"
		for _, tc := range []struct {
			about  string
			who    netip.Addr
			method string
			text   string
			status int
			want   Answer
		}{
			{"held back", held, "GET", get, 302, AnswerRedirect},
			{"HTTP/1.0", held, "GET", "GET http://marker/ HTTP/1.0\r\n\r\n", 302, AnswerRedirect},
			{"HEAD", held, "HEAD", "HEAD /marker HTTP/1.1\r\n\r\n", 302, AnswerRedirect},
			{"POST", held, "POST", "POST /marker HTTP/1.1\r\nContent-Length: 6\r\n\r\nmarker", 302, AnswerRedirect},
			{"through", free, "GET", get, 503, AnswerFree},
			{"a stranger", unknown, "GET", get, 403, AnswerStranger},
			{"a stranger's nonsense", unknown, "GET", "marker\r\n\r\n", 403, AnswerStranger},
			{"a URL that no browser should see", mistaken, "GET", get, 403, AnswerStranger},
			{"nonsense", held, "GET", "marker\r\n\r\n", 400, AnswerMalformed},
			{"a split answer", held, "GET", "GET /marker%0d%0aSet-Cookie:x\rHTTP/1.1\r\n\r\n", 400, AnswerMalformed},
			{"too long", held, "GET", "GET / HTTP/1.1\r\nX: " + strings.Repeat("marker", 4000), 431, AnswerTooLong},
		} {
			before := w.counted(tc.want)
			text := w.ask(tc.who, tc.text)
			r := parse(t, tc.method, text)
			location := ""
			if tc.status == 302 {
				location = portalURL
			}
			if r.status != tc.status || r.header.Get("Location") != location || r.header.Get("Cache-Control") != "no-store" || !r.last ||
				!r.http11 || r.header.Get("Date") == "" {
				t.Errorf("%s: %q", tc.about, text)
			}
			if strings.Contains(text, "marker") {
				t.Errorf("%s: the request is in the answer: %q", tc.about, text)
			}
			if link := strings.Contains(r.body, `href="https://portal.example.org/s/token?a=1&amp;b=2"`); link != (tc.status == 302 && tc.method != "HEAD") {
				t.Errorf("%s: link %v: %q", tc.about, link, r.body)
			}
			if tc.method == "HEAD" && r.body != "" {
				t.Errorf("%s: content %q", tc.about, r.body)
			}
			synctest.Wait()
			if got := w.counted(tc.want); got != before+1 {
				t.Errorf("%s: counted %v", tc.about, got-before)
			}
		}
	})
}

// Who sends slowly, or nothing, or does not read, gives its place back in time.
func TestSlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		for about, drip := range map[string]func(net.Conn){
			"silent": func(net.Conn) {},
			"drips":  func(c net.Conn) { w.drip(c, "GET / HTTP/1.1\r\nX: ", time.Second) },
		} {
			began := time.Now()
			c := w.dial(held)
			go drip(c) // ends with the connection
			b, _ := io.ReadAll(c)
			if took := time.Since(began); took < requestTime || took > requestTime+time.Second || len(b) != 0 {
				t.Errorf("%s: held for %v, answered %q", about, took, b)
			}
			_ = c.Close()
		}
		synctest.Wait()
		if got := w.counted(AnswerSilent); got != 2 {
			t.Errorf("%v silent", got)
		}

		began := time.Now()
		c := w.dial(held)
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		for w.counted(AnswerUndelivered) == 0 && time.Since(began) < time.Minute {
			time.Sleep(time.Second / 10)
		}
		if took := time.Since(began); took > replyTime+time.Second {
			t.Errorf("does not read: held for %v", took)
		}
		_ = c.Close()

		began = time.Now()
		c = w.dial(held)
		go w.drip(c, "GET / HTTP/1.1\r\n\r\nand more", time.Second/10) // ends with the connection
		if _, err := io.ReadAll(c); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > requestTime+lingerTime+time.Second {
			t.Errorf("sends on: held for %v", took)
		}
		time.Sleep(time.Second) // for the drips to notice
	})
}

// drip sends text, then one octet after another.
func (w *world) drip(c net.Conn, text string, every time.Duration) {
	for _, err := io.WriteString(c, text); err == nil; _, err = io.WriteString(c, "y") {
		time.Sleep(every)
	}
}

// One client, and all together, have so many connections and no more; when they are
// over there is room again.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		closed := func(c net.Conn) bool {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			return err == io.EOF
		}
		var open []net.Conn
		for i := range maxClient + 3 {
			c := w.dial(held)
			synctest.Wait()
			if got := closed(c); got != (i >= maxClient) {
				t.Errorf("connection %d: closed %v", i, got)
			}
			open = append(open, c)
		}
		if r := parse(t, "GET", w.ask(free, "GET / HTTP/1.1\r\n\r\n")); r.status != 503 {
			t.Error("another client has no room")
		}
		for i := 0; i < maxAll-maxClient; i++ {
			a := netip.AddrFrom4([4]byte{10, 81, byte(i >> 4), byte(i & 15)})
			open = append(open, w.dial(a))
		}
		c := w.dial(netip.MustParseAddr("10.82.0.1"))
		synctest.Wait()
		if !closed(c) {
			t.Error("one more than all")
		}
		for _, c := range open {
			_ = c.Close()
		}
		time.Sleep(requestTime)
		synctest.Wait()
		if r := parse(t, "GET", w.ask(held, "GET / HTTP/1.1\r\n\r\n")); r.status != 302 {
			t.Error("no room although all have left")
		}
		synctest.Wait()
		w.server.mu.Lock()
		defer w.server.mu.Unlock()
		if len(w.server.of) != 0 || len(w.server.conns) != 0 {
			t.Errorf("%d clients, %d connections are remembered", len(w.server.of), len(w.server.conns))
		}
	})
}

// Closing ends what is open, and nothing begins any more.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.dial(held)
		synctest.Wait()
		began := time.Now()
		w.close()
		if took := time.Since(began); took > 0 {
			t.Errorf("took %v", took)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the connection: %v", err)
		}
		if err := w.server.Serve(newPipes()); err != nil {
			t.Error(err)
		}
	})
}

// By TCP an answer arrives although the request's content was not read.
func TestContentIsNotRead(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Lookup: func(netip.Addr) (Standing, string) { return Held, portalURL }})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }() // waited for below
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for range 20 {
		r, err := c.Post("http://"+l.Addr().String()+"/x", "text/plain", bytes.NewReader(make([]byte, 32<<10)))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Body.Close(); err != nil || r.StatusCode != 302 || r.Header.Get("Location") != portalURL {
			t.Errorf("%v, %v", r, err)
		}
	}
	s.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Every answer has a name, and what is sent is HTTP.
func TestReplies(t *testing.T) {
	seen := make(map[string]bool)
	for a := range numAnswers {
		if seen[a.String()] || a.String() == "" {
			t.Errorf("answer %d: %q", a, a)
		}
		seen[a.String()] = true
		for _, head := range []bool{false, true} {
			method := "GET"
			if head {
				method = "HEAD"
			}
			r := parse(t, method, string(appendReply(nil, time.Unix(0, 0), a, portalURL, head)))
			if r.header.Get("Date") != "Thu, 01 Jan 1970 00:00:00 GMT" {
				t.Errorf("%v: %q", a, r.header)
			}
		}
	}
	if Answer(200).String() != AnswerUnknown.String() {
		t.Error("an answer out of range")
	}
}
