package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// The tests of this file bear the names of those in linkerd2-proxy's
// transparency.rs, orig_proto.rs and shutdown.rs. Those of HTTP/1 are rows of
// TestPairTransparency.

// client2 is a client of HTTP/2, with one connection of its own to addr.
func client2(tb testing.TB, addr string) *http.Client {
	tb.Helper()
	transport := &http.Transport{
		Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// ask2 has c make a request, with fields in turn, and returns what came of it.
func ask2(tb testing.TB, c *http.Client, method, path string, body io.Reader, fields ...string) (reply, error) {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), method, "http://"+webHost+path, body)
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	for name, values := range resp.Trailer {
		resp.Header["Trailer-"+name] = values
	}
	return reply{resp.StatusCode, resp.Header, string(content), resp.Close, err}, nil
}

// found answers with nothing.
func found(context.Context, *stack.Request) (*stack.Response, error) {
	return &stack.Response{Status: 200, Body: stack.Empty()}, nil
}

// TestTransparency_retry_reconnect_errors: a request of HTTP/2 waits for an application
// that listens a moment later.
func TestTransparency_retry_reconnect_errors(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
		t.Helper()
		app := freeAddr(t)
		p := start(t, app)
		c := client2(t, p.addr)
		over := make(chan string)
		go func() {
			got, err := ask2(t, c, "GET", "/", nil)
			over <- fmt.Sprint(got.status, err)
		}()
		elapse(t, 100*time.Millisecond)
		serveHTTP2At(t, app, found)
		if got := <-over; got != "200 <nil>" {
			t.Error(got)
		}
	})
}

// TestAppDown2 is what becomes of requests of HTTP/2, and of calls of gRPC, whose
// application stays away, and then comes.
func TestAppDown2(t *testing.T) {
	for _, grpc := range []bool{false, true} {
		app := freeAddr(t)
		addr, s := startInbound(t, app, "LINKERD2_PROXY_INBOUND_HTTP_FAILFAST_TIMEOUT=300ms",
			"LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_MIN=100ms", "LINKERD2_PROXY_INBOUND_CONNECT_EXP_BACKOFF_MAX=100ms")
		var fields []string
		if grpc {
			fields = []string{"content-type", "application/grpc"}
		}
		check := func(status int, code string, least, most time.Duration) {
			t.Helper()
			began := time.Now()
			got, err := ask2(t, client2(t, addr), "POST", "/", nil, fields...)
			if grpc {
				status = 200
			} else {
				code = ""
			}
			if took := time.Since(began); err != nil || got.status != status || got.header.Get("grpc-status") != code || took < least || took > most {
				t.Errorf("gRPC %t: %+v, %v after %v; want %d %s", grpc, got, err, took, status, code)
			}
			for _, field := range []string{"l5d-proxy-error", "l5d-proxy-connection", "grpc-message", "connection"} {
				if got.header[http.CanonicalHeaderKey(field)] != nil {
					t.Errorf("the client was told %s", field)
				}
			}
		}
		check(504, "4", 300*time.Millisecond, patience)
		check(503, "14", 0, 200*time.Millisecond)
		if n := sumOf(s.metrics(), "inbound_http_errors_total", `error="failfast"`); n != 2 {
			t.Errorf("%d failures by fail-fast were counted, want 2", n)
		}
		serveHTTP2At(t, app, func(context.Context, *stack.Request) (*stack.Response, error) {
			resp := &stack.Response{Status: 200, Body: stack.Empty()}
			resp.Header.Add("grpc-status", "0")
			return resp, nil
		})
		for deadline := time.Now().Add(patience); ; {
			got, err := ask2(t, client2(t, addr), "POST", "/", nil, fields...)
			if err == nil && got.status == 200 && got.header.Get("grpc-status") == "0" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("gRPC %t: %+v, %v though the application is there", grpc, got, err)
			}
		}
	}
}

// eachMethod are those that a request without content may have.
var eachMethod = []string{"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"}

// TestTransparency_http1_without_content has a request of each method without content,
// with and without its length: http1_requests_without_body_doesnt_add_transfer_encoding
// and http1_content_length_zero_is_preserved.
func TestTransparency_http1_without_content(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
		t.Helper()
		app := answering(t, "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		p := start(t, app.addr)
		for _, method := range eachMethod {
			for _, field := range []string{"", "Content-Length: 0\r\n"} {
				got := strings.ToLower(raw(t, p.addr, method+" / HTTP/1.1\r\nHost: a\r\n"+field+"Connection: close\r\n\r\n"))
				saw := strings.ToLower(<-app.seen)
				if strings.Contains(saw, "transfer-encoding") || strings.Contains(saw, "content-length: 0") != (field != "") {
					t.Errorf("%s: the application got %q", method, saw)
				}
				if !strings.Contains(got, "content-length: 0\r\n") || strings.Contains(got, "transfer-encoding") {
					t.Errorf("%s: the client got %q", method, got)
				}
			}
		}
	})
}

func TestTransparency_http11_connect_bad_requests(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
		t.Helper()
		addr := start(t, replier(t, func(net.Conn) { t.Error("the application was reached") })).addr
		for request, want := range map[string]string{
			"CONNECT /origin-form HTTP/1.1":    "HTTP/1.1 400 Bad Request\r\n",
			"CONNECT / HTTP/1.1":               "HTTP/1.1 400 Bad Request\r\n",
			"CONNECT http://test/bar HTTP/1.1": "HTTP/1.1 400 Bad Request\r\n",
			"CONNECT http://test HTTP/1.1":     "HTTP/1.1 400 Bad Request\r\n",
			"CONNECT * HTTP/1.1":               "HTTP/1.1 400 Bad Request\r\n",
			"GET test HTTP/1.1":                "HTTP/1.1 400 Bad Request\r\n",
			"CONNECT test HTTP/1.0":            "HTTP/1.0 400 Bad Request\r\n",
		} {
			if got := raw(t, addr, request+"\r\nHost: test\r\n\r\n"); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %q, want %q", request, got, want)
			}
		}
	})
}

// TestTransparency_http1_one_connection_per_host asks for hosts by turns on one
// connection of the client. Of an empty host each has one of its own:
// http1_requests_without_host_have_unique_connections.
func TestTransparency_http1_one_connection_per_host(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
		t.Helper()
		var mu sync.Mutex
		used := map[string]bool{}
		app := origin(t, func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			used[r.RemoteAddr] = true
		})
		c := dial(t, start(t, app).addr)
		rd := bufio.NewReader(c)
		for i, step := range []struct {
			host  string
			conns int
		}{{"foo.bar", 1}, {"foo.bar", 1}, {"bar.baz", 2}, {"bar.baz", 2}, {"foo.bar", 2}, {"third", 3}, {"", 4}, {"", 5}, {"third", 5}} {
			fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", step.host)
			resp, err := http.ReadResponse(rd, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			mu.Lock()
			if resp.StatusCode != 200 || len(used) != step.conns {
				t.Errorf("request %d, for %q: %s on %d connections, want %d", i, step.host, resp.Status, len(used), step.conns)
			}
			mu.Unlock()
		}
	})
}

// TestTransparency_http1_inbound_timeout has an application that accepts no
// connection, and one that refuses them. What HTTP/2 brings as HTTP/1 is answered
// without a field that HTTP/2 has not.
func TestTransparency_http1_inbound_timeout(t *testing.T) {
	for app, status := range map[string]int{full(t): 504, freeAddr(t): 502} {
		eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
			t.Helper()
			p := start(t, app)
			if got := send(t, p.addr, asking); got.status != status || got.body != "" {
				t.Errorf("%+v, want %d", got, status)
			}
			got := say(t, p.in, append(heading(webHost), "l5d-orig-proto", "HTTP/1.1")...)
			if got.get(":status") != strconv.Itoa(status) || got.get("connection") != "" || got.get("content-length") != "0" || got.err != nil {
				t.Errorf("carried: %+v, want %d", got, status)
			}
		})
	}
}

// heading are the pseudo-fields of a GET.
func heading(authority string) []string {
	h := []string{":method", "GET", ":scheme", "http", ":path", "/x"}
	if authority != "" {
		h = append(h, ":authority", authority)
	}
	return h
}

// A heard is what a client of HTTP/2 got that knows nothing but frames.
type heard struct {
	fields  []hpack.HeaderField // heads and trailers, one behind the other
	content string
	reset   http2.ErrCode // NO_ERROR if there was none
	err     error
}

func (h *heard) get(name string) string {
	for _, f := range h.fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// frames is one end of a connection of HTTP/2, by hand.
type frames struct {
	*http2.Framer

	c   net.Conn
	buf bytes.Buffer
	enc *hpack.Encoder
}

func newFrames(c net.Conn) *frames {
	f := &frames{Framer: http2.NewFramer(c, c), c: c}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.enc = hpack.NewEncoder(&f.buf)
	_ = c.SetDeadline(time.Now().Add(patience))
	return f
}

// dial2 begins a connection as a client.
func dial2(tb testing.TB, addr string) *frames {
	tb.Helper()
	f := newFrames(dial(tb, addr))
	_, _ = io.WriteString(f.c, http2.ClientPreface)
	_ = f.WriteSettings()
	return f
}

// head sends names and values, in turn.
func (f *frames) head(id uint32, end bool, fields ...string) {
	f.buf.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		_ = f.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	most := min(f.buf.Len(), 16<<10)
	first := f.buf.Next(most)
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: f.buf.Len() == 0, EndStream: end})
	for f.buf.Len() > 0 {
		piece := f.buf.Next(16 << 10)
		_ = f.WriteContinuation(id, f.buf.Len() == 0, piece)
	}
}

// next receives a frame, and answers what needs one.
func (f *frames) next() (http2.Frame, error) {
	fr, err := f.ReadFrame()
	switch fr := fr.(type) {
	case *http2.SettingsFrame:
		if !fr.IsAck() {
			_ = f.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !fr.IsAck() {
			_ = f.WritePing(true, fr.Data)
		}
	}
	return fr, err
}

// hear receives until stream id is over.
func (f *frames) hear(id uint32) (h heard) {
	for {
		fr, err := f.next()
		if err != nil {
			h.err = err
			return h
		}
		if fr.Header().StreamID != id {
			continue
		}
		switch fr := fr.(type) {
		case *http2.MetaHeadersFrame:
			h.fields = append(h.fields, fr.Fields...)
			if fr.StreamEnded() {
				return h
			}
		case *http2.DataFrame:
			h.content += string(fr.Data())
			if fr.StreamEnded() {
				return h
			}
		case *http2.RSTStreamFrame:
			h.reset = fr.ErrCode
			return h
		}
	}
}

// say makes one request without content, on a connection of its own.
func say(tb testing.TB, addr string, fields ...string) heard {
	tb.Helper()
	f := dial2(tb, addr)
	f.head(1, true, fields...)
	return f.hear(1)
}

// TestTransparency_http2_request_without_authority: what has none gets none, nor a host.
func TestTransparency_http2_request_without_authority(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
		t.Helper()
		app := serveHTTP2(t, func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			resp, err := found(ctx, r)
			resp.Header.Add("x-saw", fmt.Sprintf("%q %q", r.Authority, r.Header.Get("host")))
			return resp, err
		})
		got := say(t, start(t, app).addr, heading("")...)
		if got.get(":status") != "200" || got.get("x-saw") != `"" ""` {
			t.Errorf("%+v", got)
		}
	})
}

// TestTransparency_http2_rst_stream_is_propagated: by the application, ahead of its
// answer and amid it, and by the client.
func TestTransparency_http2_rst_stream_is_propagated(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
		t.Helper()
		calm := &stack.ResetError{Code: stack.EnhanceYourCalm}
		began, why, goOn := make(chan struct{}), make(chan error, 1), make(chan struct{})
		app := serveHTTP2(t, func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			switch r.Path {
			case "/amid":
				c := &content2{pieces: pieces{rest: []byte("ab"), chunk: 2, left: -1}, size: -1}
				c.more = func(context.Context) error { <-goOn; return calm }
				return &stack.Response{Status: 200, Body: c}, nil
			case "/wait":
				close(began)
				<-ctx.Done()
				why <- context.Cause(ctx)
				return nil, context.Cause(ctx)
			}
			return nil, calm
		})
		p := start(t, app)
		f := dial2(t, p.addr)
		f.head(1, true, heading(webHost)...)
		if got := f.hear(1); got.reset != http2.ErrCodeEnhanceYourCalm || len(got.fields) > 0 {
			t.Errorf("ahead of the answer: %+v", got)
		}
		f.head(3, true, append(heading(webHost)[:4], ":path", "/amid", ":authority", webHost)...)
		for begun := false; !begun; { // a reset may pass by what it is behind
			fr, err := f.next()
			if err != nil {
				t.Fatal(err)
			}
			_, begun = fr.(*http2.DataFrame)
		}
		close(goOn)
		if got := f.hear(3); got.reset != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("amid the answer: %+v", got)
		}
		f.head(5, true, append(heading(webHost)[:4], ":path", "/wait", ":authority", webHost)...)
		<-began
		_ = f.WriteRSTStream(5, http2.ErrCodeCancel)
		if err := <-why; codeIn(err) != int64(stack.Cancel) {
			t.Errorf("the application's request ended with %v", err)
		}
		f.head(7, true, heading(webHost)...)
		if got := f.hear(7); got.reset != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("the connection is of no more use: %+v", got)
		}
	})
}

// peer2 is a server's sidecar that knows nothing but frames. answer is given each
// stream's head.
func peer2(tb testing.TB, answer func(f *frames, head *http2.MetaHeadersFrame)) string {
	tb.Helper()
	return replier(tb, func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		f := newFrames(c)
		_ = f.WriteSettings()
		for {
			fr, err := f.next()
			if err != nil {
				return
			}
			if head, ok := fr.(*http2.MetaHeadersFrame); ok {
				answer(f, head)
			}
		}
	})
}

// startTowards starts an outbound sidecar whose only endpoint, with the hint, is peer.
func startTowards(tb testing.TB, peer string) string {
	tb.Helper()
	addr := freeAddr(tb)
	c := startController(tb, meshYAML(serviceYAML(webHost, false, peer)+"    protocol: h2\n"))
	startSidecar(tb, c.addr, "OUTRIGGER_OUTBOUND_NAMED="+addr+"="+webHost+":80")
	return addr
}

func TestTransparency_http1_orig_proto_does_not_propagate_rst_stream(t *testing.T) {
	addr := startTowards(t, peer2(t, func(f *frames, head *http2.MetaHeadersFrame) {
		_ = f.WriteRSTStream(head.StreamID, http2.ErrCodeEnhanceYourCalm)
	}))
	got := send(t, addr, asking)
	if got.status != 502 || !strings.Contains(got.cause(), "upgraded connection failed with HTTP/2 reset: ENHANCE_YOUR_CALM") {
		t.Errorf("%+v; want 502, and why", got)
	}
}

// TestOrigProto_outbound_http1 looks at what is between two sidecars.
func TestOrigProto_outbound_http1(t *testing.T) {
	seen := make(chan []hpack.HeaderField, 1)
	addr := startTowards(t, peer2(t, func(f *frames, head *http2.MetaHeadersFrame) {
		seen <- head.Fields
		f.head(head.StreamID, true, ":status", "200", "l5d-orig-proto", "HTTP/1.1", "content-length", "0")
	}))
	got := raw(t, addr, "GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || strings.Contains(strings.ToLower(got), "l5d-orig-proto") {
		t.Errorf("the client got %q", got)
	}
	saw := heard{fields: <-seen}
	if saw.get("l5d-orig-proto") != "HTTP/1.1" || saw.get(":path") != "/x" || saw.get("connection") != "" {
		t.Errorf("the peer got %v", saw.fields)
	}
}

// TestOrigProto_inbound_http1: the application gets HTTP/1.1 in origin form, and the
// peer HTTP/2 that says so.
func TestOrigProto_inbound_http1(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n": "HTTP/1.1",
		"HTTP/1.0 200 OK\r\n\r\nok": "HTTP/1.0",
	} {
		app := answering(t, "\r\n\r\n", answer)
		addr, _ := startInbound(t, app.addr)
		got := say(t, addr, append(heading("a.test"), "host", "a.test", "l5d-orig-proto", "HTTP/1.1")...)
		if got.get(":status") != "200" || got.get("l5d-orig-proto") != want || got.get("transfer-encoding") != "" || got.content != "ok" {
			t.Errorf("the peer got %+v", got)
		}
		if saw := strings.ToLower(<-app.seen); !strings.HasPrefix(saw, "get /x http/1.1\r\n") || !strings.Contains(saw, "host: a.test\r\n") || strings.Contains(saw, "l5d-orig-proto") {
			t.Errorf("the application got %q", saw)
		}
	}
}

// goAway receives until the connection is closed, and returns what GOAWAY said last.
func (f *frames) goAway(tb testing.TB) (code http2.ErrCode, last uint32, streams map[uint32]int) {
	tb.Helper()
	code, streams = http2.ErrCode(1<<31), map[uint32]int{}
	for {
		fr, err := f.next()
		if errors.Is(err, io.EOF) {
			_ = f.c.Close()
			return code, last, streams
		}
		switch fr := fr.(type) {
		case nil:
			tb.Fatalf("the connection ended with %v", err)
		case *http2.GoAwayFrame:
			code, last = fr.ErrCode, fr.LastStreamID
		case *http2.DataFrame:
			n := streams[fr.StreamID] + len(fr.Data())
			if streams[fr.StreamID] = n; fr.StreamEnded() && n != 16<<10 {
				tb.Errorf("stream %d ended after %d bytes", fr.StreamID, n)
			}
			if len(fr.Data()) > 0 {
				_ = f.WriteWindowUpdate(0, uint32(len(fr.Data())))
			}
		}
	}
}

func TestShutdown_h2_goaways_connections(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
		t.Helper()
		p := start(t, serveHTTP2(t, found))
		f := dial2(t, p.addr)
		f.head(1, true, heading(webHost)...)
		if got := f.hear(1); got.get(":status") != "200" {
			t.Fatalf("%+v", got)
		}
		over := p.first().draining()
		if code, last, _ := f.goAway(t); code != http2.ErrCodeNo || last != 1 {
			t.Errorf("GOAWAY says %v, and %d as the last stream", code, last)
		}
		wantOver(t, over, 10*time.Second)
	})
}

// first is the sidecar that p's clients connect to.
func (p *pair) first() *sidecar {
	if p.outbound == nil {
		return p.inbound
	}
	return p.outbound
}

// TestShutdown_h2_exercise_goaways_connections has 50 responses of 16 KiB in hand.
func TestShutdown_h2_exercise_goaways_connections(t *testing.T) {
	eachWay(t, func(t *testing.T, start func(testing.TB, string) *pair) {
		t.Helper()
		const n = 50
		arrived, leave := make(chan struct{}), make(chan struct{})
		p := start(t, serveHTTP2(t, func(context.Context, *stack.Request) (*stack.Response, error) {
			arrived <- struct{}{}
			<-leave
			return &stack.Response{Status: 200, Body: stack.Bytes(make([]byte, 16<<10))}, nil
		}))
		f := dial2(t, p.addr)
		for i := range uint32(n) {
			f.head(2*i+1, true, heading(webHost)...)
		}
		for range n {
			<-arrived
		}
		over := p.first().draining()
		refused(t, p.addr)
		close(leave)
		code, last, streams := f.goAway(t)
		if code != http2.ErrCodeNo || last != 2*n-1 || len(streams) != n {
			t.Errorf("GOAWAY says %v, and %d as the last stream; %d streams had content", code, last, len(streams))
		}
		wantOver(t, over, 10*time.Second)
	})
}

// TestOutboundEndpointDown2: a request of HTTP/2 goes to an endpoint that is there. If
// there is none the first is told why; the next waits in the balancer's queue, until
// fail-fast; and those after it do not.
func TestOutboundEndpointDown2(t *testing.T) {
	pauses := []string{"LINKERD2_PROXY_OUTBOUND_CONNECT_EXP_BACKOFF_MIN=10s", "LINKERD2_PROXY_OUTBOUND_CONNECT_EXP_BACKOFF_MAX=20s"}
	c := startController(t, meshYAML(serviceYAML(webHost, false, freeAddr(t), serveHTTP2(t, found))))
	some := client2(t, startNamed(t, c.addr, pauses...))
	for range 20 {
		if got, err := ask2(t, some, "GET", "/", nil); err != nil || got.status != 200 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	c = startController(t, meshYAML(serviceYAML(webHost, false, freeAddr(t))))
	addr := startNamed(t, c.addr, append(pauses, "LINKERD2_PROXY_OUTBOUND_HTTP_FAILFAST_TIMEOUT=100ms")...)
	for _, want := range []struct {
		status int
		cause  string
	}{{502, "connection refused"}, {504, "no endpoint became ready in time"}, {503, "failing fast"}, {503, "failing fast"}} {
		got, err := ask2(t, client2(t, addr), "GET", "/", nil)
		if err != nil || got.status != want.status || !strings.Contains(got.cause(), want.cause) {
			t.Errorf("%+v, %v; want %d, %s", got, err, want.status, want.cause)
		}
	}
}
