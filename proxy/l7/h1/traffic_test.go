package h1

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// TestTraffic sends 20,000 requests with contents of 0 to 1 MiB both ways, in
// random chunks, with trailers, pipelined, by many connections, some of which end
// at a random byte. What arrives must be what was sent, at both ends. A seed gives
// the same requests again, though not the same moments.
func TestTraffic(t *testing.T) {
	const requests, clients, seed = 20_000, 12, 42
	w := &world{t: t, bytes: noise(seed)}
	origin := httpOrigin(t, w.serve)
	addrs := []string{
		proxyOver(t, origin, testParams(), raw),
		proxyOver(t, origin, testParams(), plain),
		proxy(t, proxy(t, origin, testParams()), testParams()),
	}
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c := &trafficClient{world: w, rng: rand.New(rand.NewPCG(seed, uint64(i))), addr: addrs[i%len(addrs)], left: requests / clients}
			c.run()
		})
	}
	w.missing = requests - requests/clients*clients
	wg.Wait()
	t.Logf("%d answered and equal, %d given up on purpose, %d behind those; %d MiB", w.equal.Load(), w.aborted.Load(), w.lost.Load(), w.volume.Load()>>20)
	if n := int(w.equal.Load()+w.aborted.Load()+w.lost.Load()) + w.missing; n != requests {
		t.Errorf("%d requests are accounted for, want %d", n, requests)
	}
	if n := w.equal.Load(); n < requests*3/4 {
		t.Errorf("only %d were answered", n)
	}
}

const mostBytes = 1 << 20

func noise(seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, 2*mostBytes)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// A world is what clients and origin know of each other: any content is a part of
// the same noise.
type world struct {
	t       *testing.T
	bytes   []byte
	missing int

	equal, aborted, lost, volume atomic.Int64
}

func sum(b []byte) string { return strconv.FormatUint(uint64(crc32.ChecksumIEEE(b)), 16) }

// An errand is one request: which content goes each way, how, and who ends it.
type errand struct {
	up, upAt, down, downAt int
	upChunks, downChunks   bool
	end                    string // "", "client", "unanswered" or "cut"
}

// serve is the origin.
func (w *world) serve(out http.ResponseWriter, r *http.Request) {
	var e errand
	q := r.URL.Query()
	for name, v := range map[string]*int{"up": &e.up, "upAt": &e.upAt, "down": &e.down, "downAt": &e.downAt} {
		*v, _ = strconv.Atoi(q.Get(name))
	}
	got, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has left
	}
	if !bytes.Equal(got, w.bytes[e.upAt:e.upAt+e.up]) {
		w.t.Errorf("%s: the origin got %d bytes, and not what was sent", r.URL, len(got))
	}
	if want := r.Header.Get("X-Chunked"); want != "" && r.Trailer.Get("X-Sum") != sum(got) {
		w.t.Errorf("%s: the origin got the trailer %v", r.URL, r.Trailer)
	}
	content := w.bytes[e.downAt : e.downAt+e.down]
	out.Header().Set("X-Got", sum(got))
	if q.Get("chunks") == "true" {
		out.Header().Set("Trailer", "X-Sum")
	} else {
		out.Header().Set("Content-Length", strconv.Itoa(len(content)))
	}
	switch q.Get("end") {
	case "unanswered":
		panic(http.ErrAbortHandler)
	case "cut":
		_, _ = out.Write(content[:len(content)/2])
		_ = http.NewResponseController(out).Flush()
		panic(http.ErrAbortHandler)
	}
	for rest := content; len(rest) > 0; {
		n := min(len(rest), 1+e.upAt%40_000) // which is as good as random
		_, _ = out.Write(rest[:n])
		if rest = rest[n:]; e.up%2 == 1 {
			_ = http.NewResponseController(out).Flush()
		}
	}
	out.Header().Set("X-Sum", sum(content))
}

type trafficClient struct {
	*world
	rng  *rand.Rand
	addr string
	left int // requests still to be sent
}

// size is log-uniform.
func (c *trafficClient) size() int {
	most := float64(mostBytes)
	if raced && c.rng.IntN(50) > 0 {
		most = 8 << 10
	}
	return int(math.Exp(c.rng.Float64()*math.Log(most+1))) - 1
}

func (c *trafficClient) errand() errand {
	e := errand{up: c.size(), down: c.size(), upAt: c.rng.IntN(mostBytes), downAt: c.rng.IntN(mostBytes), upChunks: c.rng.IntN(2) == 0, downChunks: c.rng.IntN(2) == 0}
	if c.rng.IntN(2) == 0 {
		e.up, e.upChunks = 0, false
	}
	switch c.rng.IntN(100) {
	case 0:
		e.end = "client"
	case 1:
		e.end = "unanswered"
	case 2:
		e.end, e.down = "cut", max(e.down, 1)
	}
	return e
}

func (c *trafficClient) run() {
	for c.left > 0 {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			c.t.Error(err)
			return
		}
		rd := bufio.NewReader(conn)
		for more := true; more && c.left > 0; {
			more = c.batch(conn, rd)
		}
		_ = conn.Close()
	}
}

// batch sends some requests at once, and reads their answers. It reports whether
// the connection may go on.
func (c *trafficClient) batch(conn net.Conn, rd *bufio.Reader) bool {
	errands := make([]errand, 1+c.rng.IntN(min(8, c.left)))
	for i := range errands {
		errands[i] = c.errand()
	}
	c.left -= len(errands)
	written := make(chan struct{})
	writer := rand.New(rand.NewPCG(c.rng.Uint64(), 0))
	go func() { defer close(written); c.write(conn, writer, errands) }()
	leaves := slices.ContainsFunc(errands, func(e errand) bool { return e.end == "client" || e.end == "cut" })
	done, ok := 0, true
	for ; ok && done < len(errands); done++ {
		ok = c.read(rd, errands[done], leaves)
	}
	c.lost.Add(int64(len(errands) - done))
	if !ok {
		_ = conn.Close()
	}
	<-written
	return ok && c.rng.IntN(20) > 0
}

// write writes the requests in pieces, until one of them ends the connection.
func (c *trafficClient) write(conn net.Conn, rng *rand.Rand, errands []errand) {
	var text bytes.Buffer
	flush := func() bool {
		_, err := conn.Write(text.Bytes())
		text.Reset()
		return err == nil
	}
	for _, e := range errands {
		content := c.bytes[e.upAt : e.upAt+e.up]
		fmt.Fprintf(&text, "POST /?up=%d&upAt=%d&down=%d&downAt=%d&chunks=%t&end=%s HTTP/1.1\r\nHost: a\r\n", e.up, e.upAt, e.down, e.downAt, e.downChunks, e.end)
		if e.end == "client" {
			text.Truncate(text.Len() - rng.IntN(20))
			fmt.Fprintf(&text, "%.*s", rng.IntN(20), "Content-Length: 100000\r\n\r\n")
			flush()
			_ = conn.(*net.TCPConn).SetLinger(rng.IntN(3) - 1) // by a reset, or not
			_ = conn.Close()
			return
		}
		if !e.upChunks {
			fmt.Fprintf(&text, "Content-Length: %d\r\n\r\n", e.up)
			text.Write(content)
		} else {
			text.WriteString("X-Chunked: yes\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n")
			for rest := content; len(rest) > 0; {
				n := 1 + rng.IntN(min(len(rest), 1<<rng.IntN(18)))
				fmt.Fprintf(&text, "%x%.*s\r\n%s\r\n", n, rng.IntN(2)*rng.IntN(6), ";a=b", rest[:n])
				if rest = rest[n:]; rng.IntN(4) == 0 && !flush() {
					return
				}
			}
			fmt.Fprintf(&text, "0\r\nX-Sum: %s\r\n\r\n", sum(content))
		}
		if rng.IntN(2) == 0 && !flush() {
			return
		}
	}
	flush()
}

// read reads the answer to e, unless the client leaves without waiting for it, or a
// reset takes it with the later one that is cut. It reports whether another may
// follow.
func (c *trafficClient) read(rd *bufio.Reader, e errand, leaves bool) bool {
	resp, err := http.ReadResponse(rd, nil)
	var got []byte
	if err == nil {
		got, err = io.ReadAll(resp.Body)
	}
	if err != nil && leaves {
		c.aborted.Add(1)
		return false
	}
	if e.end != "" {
		c.aborted.Add(1)
		switch {
		case e.end == "unanswered" && (err != nil || resp.StatusCode != 502):
			c.t.Errorf("unanswered by the origin: got %v, %v, want 502", resp, err)
		case e.end != "unanswered" && err == nil:
			c.t.Errorf("%s: got %d bytes, and a regular end", e.end, len(got))
		}
		return err == nil && !resp.Close
	}
	c.compare(e, resp, got, err)
	return err == nil && !resp.Close
}

func (c *trafficClient) compare(e errand, resp *http.Response, got []byte, err error) {
	content := c.bytes[e.downAt : e.downAt+e.down]
	switch {
	case err != nil || resp.StatusCode != 200:
		c.t.Errorf("%+v: got %v, %v", e, resp, err)
	case !bytes.Equal(got, content) || resp.Header.Get("X-Got") != sum(c.bytes[e.upAt:e.upAt+e.up]):
		c.t.Errorf("%+v: got %d bytes, and not what was sent", e, len(got))
	case e.downChunks && resp.Trailer.Get("X-Sum") != sum(content):
		c.t.Errorf("%+v: got the trailer %v", e, resp.Trailer)
	default:
		c.equal.Add(1)
		c.volume.Add(int64(e.up + e.down))
	}
}
