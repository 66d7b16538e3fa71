package l4

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A meeting is a connection in detection, and the server that may be dialled for
// it.
type meeting struct {
	t      *testing.T
	d      *Detector
	client net.Conn
	c      *stack.Conn
	dialed chan net.Conn // the server's end of each connection to it

	seen Detection
	err  error
	done chan struct{}
}

// meet has d detect on a new connection. Dialling takes as long as it is told to.
func meet(t *testing.T, d *Detector, connect time.Duration, refuse error) *meeting {
	t.Helper()
	client, near := net.Pipe()
	m := &meeting{t: t, d: d, client: client, c: &stack.Conn{Conn: near}, dialed: make(chan net.Conn, 1), done: make(chan struct{})}
	d.Dial = func(ctx context.Context, _ stack.Session) (*stack.Conn, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.NewTimer(connect).C:
		}
		if refuse != nil {
			return nil, refuse
		}
		server, near := net.Pipe()
		m.dialed <- server
		return &stack.Conn{Conn: near}, nil
	}
	go func() {
		defer close(m.done)
		m.seen, m.err = d.Detect(t.Context(), m.c)
	}()
	return m
}

// end returns what was detected, and closes everything. got is what a server would
// have been told, and told what the client would have.
func (m *meeting) end() (got, told string) {
	<-m.done
	_ = m.client.Close()
	b, _ := io.ReadAll(m.c)
	if m.c.Server != nil {
		_ = m.c.Server.SetReadDeadline(time.Now().Add(time.Second))
		b, _ := io.ReadAll(m.c.Server)
		told = string(b)
		_ = m.c.Server.Close()
	}
	_ = m.c.Close()
	return string(b), told
}

// TestDetector has a client and a server that each say something some time after
// the client has connected, or end.
func TestDetector(t *testing.T) {
	const ms = time.Millisecond
	const get, tls, settings = "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", "\x00\x00\x12\x04\x00\x00\x00\x00\x00"
	for name, test := range map[string]struct {
		client, server     string
		after, serverAfter time.Duration // zero: never
		ends, serverEnds   bool
		connect            time.Duration
		refused, denied    bool
		off, http          bool

		want   Protocol
		result Result
		took   time.Duration
		err    error
		dials  bool // whether the server was dialled
		joined bool // whether that connection is what the client is forwarded to
	}{
		"the client speaks in time":                {client: get, after: 199 * ms, want: HTTP1, result: DetectedHTTP1, took: 199 * ms},
		"the client speaks in time, not HTTP":      {client: tls, after: 199 * ms, want: Opaque, result: NotHTTP, took: 199 * ms},
		"the client has said part of something":    {client: "GE", after: 199 * ms, server: "220 hello\r\n", serverAfter: 201 * ms, want: Opaque, result: ReadTimeout, took: 10 * time.Second},
		"the server speaks":                        {server: "220 hello\r\n", serverAfter: 230 * ms, want: Opaque, result: ServerFirst, took: 230 * ms, dials: true, joined: true},
		"the server speaks, having taken long":     {server: "220 hello\r\n", serverAfter: 900 * ms, connect: 500 * ms, want: Opaque, result: ServerFirst, took: 900 * ms, dials: true, joined: true},
		"the server speaks and ends":               {server: "H", serverAfter: 230 * ms, serverEnds: true, want: Opaque, result: ServerFirst, took: 230 * ms, dials: true, joined: true},
		"the client speaks first, late":            {client: get, after: 900 * ms, server: "HTTP/1.1 200 OK\r\n", serverAfter: time.Second, want: HTTP1, result: DetectedHTTP1, took: 900 * ms, dials: true},
		"the client speaks first, late, not HTTP":  {client: tls, after: 900 * ms, server: "\x16\x03", serverAfter: time.Second, want: Opaque, result: NotHTTP, took: 900 * ms, dials: true, joined: true},
		"the client speaks during the dial":        {client: get, after: 300 * ms, connect: 500 * ms, want: HTTP1, result: DetectedHTTP1, took: 300 * ms},
		"the server says what HTTP/2 says":         {client: get, after: 900 * ms, server: settings, serverAfter: 210 * ms, want: HTTP1, result: DetectedHTTP1, took: 900 * ms, dials: true},
		"the server says that it has waited":       {client: get, after: 900 * ms, server: "HTTP/1.1 408 Request Timeout\r\n", serverAfter: 500 * ms, want: HTTP1, result: DetectedHTTP1, took: 900 * ms, dials: true},
		"the server ends":                          {client: get, after: 900 * ms, serverAfter: 500 * ms, serverEnds: true, want: HTTP1, result: DetectedHTTP1, took: 900 * ms, dials: true},
		"the server ends, and is dialled anew":     {client: tls, after: 900 * ms, serverAfter: 500 * ms, serverEnds: true, want: Opaque, result: NotHTTP, took: 900 * ms, dials: true},
		"the server begins as HTTP, and is silent": {server: "HT", serverAfter: 500 * ms, want: Opaque, result: ReadTimeout, took: 10 * time.Second, dials: true, joined: true},
		"neither speaks":                           {want: Opaque, result: ReadTimeout, took: 10 * time.Second, dials: true, joined: true},
		"the client leaves in time":                {after: 100 * ms, ends: true, result: ReadError, took: 100 * ms, err: ErrClosedEarly},
		"the client leaves, late":                  {after: 900 * ms, ends: true, want: Opaque, result: NotHTTP, took: 900 * ms, dials: true, joined: true},
		"the client leaves during the dial":        {after: 300 * ms, ends: true, connect: 500 * ms, result: ReadError, took: 300 * ms, err: ErrClosedEarly},
		"the server cannot be dialled":             {client: get, after: 900 * ms, refused: true, want: HTTP1, result: DetectedHTTP1, took: 900 * ms},
		"the server cannot be dialled, opaque":     {refused: true, want: Opaque, result: ReadTimeout, took: 10 * time.Second},
		"the client may not":                       {denied: true, server: "220 hello\r\n", serverAfter: 230 * ms, want: Opaque, result: ReadTimeout, took: 10 * time.Second},
		"turned off":                               {off: true, server: "220 hello\r\n", serverAfter: 230 * ms, want: Opaque, result: ReadTimeout, took: 10 * time.Second},
		"HTTP was spoken":                          {http: true, server: "220 hello\r\n", serverAfter: 230 * ms, want: Opaque, result: ReadTimeout, took: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &Detector{Timeout: 10 * time.Second, Silence: 200 * ms, Admits: func(*stack.Conn) bool { return !test.denied }}
				if test.off {
					d.Silence = 0
				}
				d.http.Store(test.http)
				var refuse error
				if test.refused {
					refuse = stack.ErrUnsent
				}
				m := meet(t, d, test.connect, refuse)
				server := make(chan net.Conn, 1)
				if test.after > 0 {
					go func() {
						time.Sleep(test.after)
						io.WriteString(m.client, test.client)
						if test.ends {
							m.client.Close()
						}
					}()
				}
				go func() {
					var s net.Conn
					select {
					case s = <-m.dialed:
					case <-m.done:
					}
					server <- s
					if s == nil || test.serverAfter == 0 {
						return
					}
					time.Sleep(test.serverAfter - 200*ms - test.connect)
					io.WriteString(s, test.server)
					if test.serverEnds {
						s.Close()
					}
				}()
				<-m.done
				joined := m.c.Server != nil
				if m.seen.Protocol != test.want || m.seen.Result != test.result || m.seen.Elapsed != test.took || !errors.Is(m.err, test.err) || joined != test.joined {
					t.Errorf("%+v, %v, joined %v", m.seen, m.err, joined)
				}
				s := <-server
				if (s != nil) != test.dials {
					t.Errorf("dialled %v", s != nil)
				}
				if s != nil && !joined { // it is closed, since nobody else will
					if _, err := s.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
						t.Errorf("the server that is not used reads %v", err)
					}
				}
				got, told := m.end()
				if !strings.HasPrefix(test.client, got) || test.client != got && test.client != "" && m.seen.Result != ReadTimeout {
					t.Errorf("what the client said is %q", got)
				}
				if joined && test.server != told && test.result == ServerFirst {
					t.Errorf("what the server said is %q", told)
				}
				if s != nil {
					s.Close()
				}
				time.Sleep(time.Minute) // for whoever still means to speak
			})
		})
	}
}

// serverSpeaks has the server speak first on one connection, and returns after how
// long that was detected.
func serverSpeaks(t *testing.T, d *Detector) time.Duration {
	t.Helper()
	m := meet(t, d, time.Millisecond, nil)
	go func() {
		select {
		case s := <-m.dialed:
			io.WriteString(s, "220 hello\r\n")
			s.Close()
		case <-m.done:
		}
	}()
	m.end()
	return m.seen.Elapsed
}

// clientSpeaks has the client do so.
func clientSpeaks(t *testing.T, d *Detector, text string) {
	t.Helper()
	m := meet(t, d, time.Millisecond, nil)
	io.WriteString(m.client, text)
	m.end()
}

func TestDetectorLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow, fast, never = 201 * time.Millisecond, time.Millisecond, 10 * time.Second
		learned := 0
		d := &Detector{Timeout: never, Silence: 200 * time.Millisecond, Learned: func() { learned++ }}
		for i, step := range []struct {
			client string // says this, if anything; or else the server speaks
			took   time.Duration
		}{
			{took: slow},
			{took: slow},
			{client: "\x16"}, // not three in a row
			{took: slow},
			{took: slow},
			{took: slow},
			{took: fast},
			{took: fast},
			{client: "\x16"},
			{took: slow},
			{took: slow},
			{took: slow},
			{took: fast}, // unlearned, and learned anew
			{client: "GET / HTTP/1.1\r\n\r\n"},
			{took: never},
			{took: never},
			{took: never},
			{took: never},
		} {
			if step.client != "" {
				clientSpeaks(t, d, step.client)
			} else if took := serverSpeaks(t, d); took != step.took {
				t.Errorf("step %d: took %v, want %v", i, took, step.took)
			}
		}
		if learned != 1 {
			t.Errorf("told %d times", learned)
		}
	})
}

// TestDetectorLearnsHTTPFromTheServer has a gRPC server, say, that begins without
// waiting for its client.
func TestDetectorLearnsHTTPFromTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Detector{Timeout: time.Second, Silence: 200 * time.Millisecond}
		m := meet(t, d, 0, nil)
		s := <-m.dialed
		io.WriteString(s, "\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		m.end()
		if took := serverSpeaks(t, d); took != time.Second {
			t.Errorf("the server was heard again, after %v", took)
		}
	})
}

// TestDetectorRefuses is for a server that is known to speak first, and is down:
// there is nothing to wait for.
func TestDetectorRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Detector{Timeout: 10 * time.Second, Silence: 200 * time.Millisecond}
		for range learnedAfter {
			serverSpeaks(t, d)
		}
		m := meet(t, d, time.Millisecond, stack.ErrUnsent)
		<-m.done
		if !errors.Is(m.err, stack.ErrUnsent) || m.seen.Elapsed != time.Millisecond {
			t.Errorf("%+v, %v", m.seen, m.err)
		}
		if _, err := m.client.Read(make([]byte, 1)); err == nil {
			t.Error("the client's connection is open")
		}
	})
}

// TestDetectorIsCut closes the client's connection from this side, as a drain's end
// does, while its server is dialled, and while both are silent.
func TestDetectorIsCut(t *testing.T) {
	for _, at := range []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			d := &Detector{Timeout: 10 * time.Second, Silence: 200 * time.Millisecond}
			m := meet(t, d, 500*time.Millisecond, nil)
			time.Sleep(at)
			m.c.Close()
			<-m.done
			if m.err == nil || m.seen.Elapsed != at || m.c.Server != nil {
				t.Errorf("after %v: %+v, %v", at, m.seen, m.err)
			}
		})
	}
}

func TestCloseUnused(t *testing.T) {
	for _, taken := range []bool{false, true} {
		far, near := net.Pipe()
		server := &stack.Conn{Conn: near}
		h := CloseUnused(func(_ context.Context, c *stack.Conn) error {
			if taken {
				c.Server = nil
			}
			return ErrForbidden
		})
		if err := h(t.Context(), &stack.Conn{Server: server}); !errors.Is(err, ErrForbidden) {
			t.Error(err)
		}
		_ = far.SetReadDeadline(time.Now())
		if _, err := far.Read(make([]byte, 1)); errors.Is(err, io.EOF) == taken {
			t.Errorf("taken %v: %v", taken, err)
		}
		far.Close()
		near.Close()
	}
}

func TestClassifyServer(t *testing.T) {
	for in, want := range map[string]said{
		"": saidNothing, "H": saidNothing, "HTTP": saidNothing, "HTTP/": saidHTTP, "HTTP/1.1 408 ": saidHTTP,
		"HELO": saidOpaque, "220 ": saidOpaque, "SSH-2.0-x\r\n": saidOpaque, "RFB 003.008\n": saidOpaque,
		"\x00": saidNothing, "\x00\x00\x12\x04\x00\x00\x00\x00": saidNothing, "\x00\x00\x12\x04\x00\x00\x00\x00\x00": saidHTTP,
		"\x00\x00\x00\x04\x00\x00\x00\x00\x00": saidHTTP, "\x00\x40\x00": saidOpaque, "\x00\x40\x02": saidOpaque, // 16386, over the least maximum
		"\x00\x00\x11\x04": saidOpaque, "\x00\x00\x12\x04\x01": saidOpaque, "\x00\x00\x12\x04\x00\x00\x00\x00\x01": saidOpaque,
		"\x4a\x00\x00\x00\x0a8.0.36": saidOpaque, // MySQL
	} {
		if got := classifyServer([]byte(in)); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

// FuzzClassifyServer sees that no byte that comes later changes a decision.
func FuzzClassifyServer(f *testing.F) {
	for _, in := range []string{"HTTP/1.1 200", "\x00\x00\x12\x04\x00\x00\x00\x00\x00", "220 hello", "\x4a\x00\x00\x00"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := classifyServer(in)
		for n := range in {
			if part := classifyServer(in[:n]); part != saidNothing && part != whole {
				t.Fatalf("%q is %d, and %q is %d", in[:n], part, in, whole)
			}
		}
	})
}
