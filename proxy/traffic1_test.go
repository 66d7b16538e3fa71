package proxy

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
)

var errGivenUp = errors.New("given up on purpose")

// traffic1 is traffic in HTTP/1, with Go's own client and server.
func traffic1(t *testing.T, w *traffic) func(string, *rand.Rand) trafficClient {
	t.Helper()
	w.origin = origin(t, w.serve1)
	return func(addr string, _ *rand.Rand) trafficClient {
		return &trafficClient1{w, addr, &http.Transport{DisableCompression: true}}
	}
}

func (w *traffic) serve1(out http.ResponseWriter, r *http.Request) {
	e := parseErrand(r.URL.Path)
	if e.end == cuts && e.at < 0 && e.unread() {
		panic(http.ErrAbortHandler) // its content is still to come
	}
	got, err := io.ReadAll(r.Body)
	w.check(&e, got, err == nil, r.Trailer.Get("x-sum"))
	if err != nil {
		return
	}
	if e.end == cuts && e.at < 0 {
		panic(http.ErrAbortHandler)
	}
	out.Header().Set("x-saw", crc(got))
	if e.known {
		out.Header().Set("content-length", strconv.Itoa(e.down))
	} else {
		out.Header().Set("trailer", "x-sum")
	}
	p := &pieces{rest: w.down(&e), chunk: e.chunk, left: -1}
	if e.end == cuts {
		p.left, p.err = e.at, errGivenUp
	}
	for buf := make([]byte, 64<<10); ; {
		n, err := p.Read(buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			_ = http.NewResponseController(out).Flush()
			panic(http.ErrAbortHandler)
		}
		if _, err = out.Write(buf[:n]); err != nil {
			break
		}
		if e.id%2 == 0 {
			_ = http.NewResponseController(out).Flush()
		}
	}
	if e.end == leaves {
		_ = http.NewResponseController(out).Flush()
		<-r.Context().Done()
		w.gaveUp(&e, 0)
		panic(http.ErrAbortHandler)
	}
	out.Header().Set("x-sum", crc(w.down(&e)))
}

type trafficClient1 struct {
	*traffic
	addr      string
	transport *http.Transport
}

func (c *trafficClient1) close() { c.transport.CloseIdleConnections() }

func (c *trafficClient1) do(e errand) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p := &pieces{rest: c.up(&e), chunk: e.chunk, left: -1}
	if e.end == upload {
		p.left, p.err = e.at, errGivenUp
	}
	if e.end == leaves && e.known { // what is left is to come after it has left
		e.known = false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.addr+e.path(), io.NopCloser(p))
	if err != nil {
		c.t.Error(err)
		return
	}
	if e.known {
		if req.ContentLength = int64(e.up); e.up == 0 {
			req.Body = http.NoBody
		}
	} else {
		req.ContentLength = -1
		req.Trailer = http.Header{"X-Sum": {crc(c.up(&e))}}
	}
	resp, err := c.transport.RoundTrip(req)
	if e.end == upload {
		c.uploaded(&e, resp, err)
		return
	}
	if err != nil {
		if e.end == cuts && (e.at >= 0 || e.unread()) { // a cut connection may take with it what was under way
			c.broken.Add(1)
			return
		}
		c.t.Errorf("%+v: %v", e, err)
		return
	}
	defer resp.Body.Close()
	if e.end == leaves {
		c.leave(&e, resp, cancel)
		return
	}
	got, err := io.ReadAll(resp.Body)
	if e.end == cuts {
		c.wasCut(&e, resp, got, err)
		return
	}
	if why := resp.Header.Get("l5d-proxy-error"); why != "" {
		err = errors.New(why)
	}
	c.compare(&e, resp.StatusCode, got, err, resp.Header.Get("x-saw"), resp.Trailer.Get("x-sum"))
}

// uploaded: the server cannot have answered well what it has not received whole.
func (c *trafficClient1) uploaded(e *errand, resp *http.Response, err error) {
	if err == nil {
		_ = resp.Body.Close()
		c.t.Errorf("%+v: got %v", e, resp)
	}
	c.broken.Add(1)
}

// leave reads a part of the response and leaves, as the origin is to see.
func (c *trafficClient1) leave(e *errand, resp *http.Response, cancel func()) {
	got := make([]byte, e.at)
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != string(c.down(e)[:e.at]) {
		c.t.Errorf("%+v: %v, or not what was sent", e, err)
	}
	cancel()
	if _, err := c.wasGivenUp(e); err != nil {
		c.t.Errorf("%+v: %v", e, err)
	}
	c.broken.Add(1)
}

// wasCut: before its head a response becomes a 502, and after it, it breaks off.
func (c *trafficClient1) wasCut(e *errand, resp *http.Response, got []byte, err error) {
	switch {
	case resp.StatusCode == http.StatusBadGateway && err == nil && len(got) == 0:
	case resp.StatusCode == http.StatusOK && e.at >= 0 && err != nil && len(got) <= e.at && string(got) == string(c.down(e)[:len(got)]):
	default:
		c.t.Errorf("%+v: got %v with %d bytes, %v", e, resp, len(got), err)
	}
	c.broken.Add(1)
}
