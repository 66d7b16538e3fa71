package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// TestTraffic sends requests with contents of 0 to 1 MiB through two sidecars, for
// each version that a client and its server speak and that the sidecars speak with
// each other. Contents have random sizes and come in random chunks, with trailers;
// some are broken off at a random byte by either side. What arrives must be what
// was sent, at both ends, and so must the code of a reset.
func TestTraffic(t *testing.T) { runTraffic(t, 1500) }

// pairings are the versions: what the sidecars speak with each other is HTTP/2 if the
// endpoint has the hint, and else what the client speaks.
var pairings = []struct {
	name  string
	hint  string
	start func(*testing.T, *traffic) func(addr string, rng *rand.Rand) trafficClient
}{
	{"HTTP1", "", traffic1},
	{"HTTP1 over HTTP2", "h2", traffic1},
	{"HTTP2", "", traffic2},
}

func runTraffic(t *testing.T, requests int) {
	t.Helper()
	for _, p := range pairings {
		t.Run(p.name, func(t *testing.T) {
			w := &traffic{t: t, noise: makeNoise(), ends: make([]chan stack.ErrCode, requests)}
			client := p.start(t, w)
			w.run(startHinted(t, w.origin, p.hint, patientDials()...).addr, client)
		})
	}
}

// patientDials keeps a busy machine out of what is tried: a second may not do there.
func patientDials() []string {
	return []string{"LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT=10s", "LINKERD2_PROXY_OUTBOUND_CONNECT_TIMEOUT=10s"}
}

// startHinted is startPair with a hint on what the server's sidecar speaks.
func startHinted(tb testing.TB, app, hint string, env ...string) *pair {
	tb.Helper()
	p := &pair{addr: freeAddr(tb), in: freeAddr(tb)}
	yaml := meshYAML(serviceYAML(webHost, false, p.in))
	if hint != "" {
		yaml = strings.TrimSuffix(yaml, "\n") + "\n    protocol: " + hint + "\n"
	}
	c := startController(tb, yaml)
	p.inbound = startSidecar(tb, c.addr, append(env, "OUTRIGGER_INBOUND_NAMED="+p.in+"="+app)...)
	p.outbound = startSidecar(tb, c.addr, append(env, "OUTRIGGER_OUTBOUND_NAMED="+p.addr+"="+webHost+":80")...)
	return p
}

const (
	mostBytes    = 1 << 20
	trafficSeed  = 42
	trafficUsers = 12
)

func makeNoise() []byte {
	rng := rand.New(rand.NewPCG(trafficSeed, 0))
	b := make([]byte, 2*mostBytes)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// A traffic is what clients and origin know of each other: any content is a part of
// the same noise.
type traffic struct {
	t      *testing.T
	noise  []byte
	origin string
	ends   []chan stack.ErrCode // by request: as what the origin saw it given up

	equal, broken, volume atomic.Int64
}

// A trafficClient does one errand.
type trafficClient interface {
	do(e errand)
	close()
}

// An errand is one request: which content goes each way, in which chunks, and who
// breaks it off, with which code, after how many bytes of its own content; if the
// client does so to a response, of that.
type errand struct {
	id                     int
	up, upAt, down, downAt int
	chunk                  int
	known                  bool // contents have a length, and not a trailer
	end                    ending
	code                   stack.ErrCode
	at                     int
}

// unread says of a request that is cut before its answer whether it is so before its
// content has come.
func (e *errand) unread() bool { return e.chunk%2 == 0 }

type ending string

const (
	regular ending = "regular"
	upload  ending = "upload" // the client, amid its content
	leaves  ending = "leaves" // the client, amid the response
	cuts    ending = "cut"    // the server, amid its content, or before its head
)

const errandForm = "/%d/%d/%d/%d/%d/%d/%t/%s/%d/%d"

func (e *errand) path() string {
	return fmt.Sprintf(errandForm, e.id, e.up, e.upAt, e.down, e.downAt, e.chunk, e.known, e.end, e.code, e.at)
}

func parseErrand(path string) (e errand) {
	_, err := fmt.Sscanf(strings.ReplaceAll(path, "/", " "), strings.ReplaceAll(errandForm, "/", " "),
		&e.id, &e.up, &e.upAt, &e.down, &e.downAt, &e.chunk, &e.known, &e.end, &e.code, &e.at)
	if err != nil {
		panic(fmt.Sprint(path, err))
	}
	return e
}

// resetCodes are those of others' making too, but for REFUSED_STREAM, which has the
// request sent again.
var resetCodes = []stack.ErrCode{
	stack.ProtocolError, stack.InternalError, stack.Cancel, stack.EnhanceYourCalm, stack.HTTP11Required, 1234567,
}

func newErrand(rng *rand.Rand, id int) errand {
	e := errand{id: id, end: regular, up: someSize(rng), down: someSize(rng), upAt: rng.IntN(mostBytes), downAt: rng.IntN(mostBytes)}
	e.chunk, e.known = 1+rng.IntN(1<<rng.IntN(18)), rng.IntN(2) == 0
	if e.chunk < 64 { // or a long content takes for ever
		e.up, e.down = min(e.up, 4<<10), min(e.down, 4<<10)
	}
	e.code = resetCodes[rng.IntN(len(resetCodes))]
	switch rng.IntN(20) {
	case 0:
		e.end, e.up = upload, max(e.up, 1)
		e.at = rng.IntN(e.up)
	case 1:
		e.end = leaves
		e.at = rng.IntN(e.down + 1)
	case 2:
		e.end = cuts
		e.at = rng.IntN(e.down+1) - 1 // not after all of it: a server that closes then takes the next request with it
	}
	return e
}

// someSize is log-uniform, and zero at times.
func someSize(rng *rand.Rand) int {
	most := float64(mostBytes)
	if raced && rng.IntN(20) > 0 {
		most = 16 << 10
	}
	return int(math.Exp(rng.Float64()*math.Log(most+1))) - 1
}

// run has all errands done by some clients.
func (w *traffic) run(addr string, open func(string, *rand.Rand) trafficClient) {
	for i := range w.ends {
		w.ends[i] = make(chan stack.ErrCode, 1)
	}
	var clients sync.WaitGroup
	began := time.Now()
	for i := range trafficUsers {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(trafficSeed, uint64(i)))
			c := open(addr, rng)
			defer c.close()
			for id := i; id < len(w.ends) && !w.t.Failed(); id += trafficUsers {
				c.do(newErrand(rng, id))
			}
		})
	}
	clients.Wait()
	w.t.Logf("%d requests: %d arrived and were equal, %d were broken off; %d MiB in %s",
		len(w.ends), w.equal.Load(), w.broken.Load(), w.volume.Load()>>20, time.Since(began).Round(time.Millisecond))
	if n := int(w.equal.Load() + w.broken.Load()); n != len(w.ends) {
		w.t.Errorf("%d requests are accounted for, of %d", n, len(w.ends))
	}
}

func (w *traffic) up(e *errand) []byte   { return w.noise[e.upAt : e.upAt+e.up] }
func (w *traffic) down(e *errand) []byte { return w.noise[e.downAt : e.downAt+e.down] }

func crc(b []byte) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE(b)) }

// gaveUp notes that the origin saw e given up.
func (w *traffic) gaveUp(e *errand, code stack.ErrCode) {
	select {
	case w.ends[e.id] <- code:
	default:
	}
}

// wasGivenUp waits until the origin has seen e given up, and says by which code.
func (w *traffic) wasGivenUp(e *errand) (stack.ErrCode, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case code := <-w.ends[e.id]:
		return code, nil
	case <-ctx.Done():
		return 0, errors.New("the origin has not seen that it was given up")
	}
}

// compare is what a regular errand comes to.
func (w *traffic) compare(e *errand, status int, got []byte, err error, saw, trailer string) {
	switch {
	case err != nil || status != 200:
		w.t.Errorf("%+v: got %d with %d bytes, %v", e, status, len(got), err)
	case !bytes.Equal(got, w.down(e)):
		w.t.Errorf("%+v: got %d bytes, and not what was sent", e, len(got))
	case saw != crc(w.up(e)):
		w.t.Errorf("%+v: the origin got other content", e)
	case !e.known && trailer != crc(got):
		w.t.Errorf("%+v: the trailer is %q", e, trailer)
	default:
		w.equal.Add(1)
		w.volume.Add(int64(e.up + e.down))
	}
}

// check compares what the origin received of e's content.
func (w *traffic) check(e *errand, got []byte, whole bool, trailer string) {
	want := w.up(e)
	if !bytes.HasPrefix(want, got) || whole && len(got) != len(want) {
		w.t.Errorf("%+v: the origin got %d bytes, and not what was sent", e, len(got))
	}
	if whole && !e.known && trailer != crc(want) {
		w.t.Errorf("%+v: the origin got the trailer %q", e, trailer)
	}
	if whole && e.end == upload {
		w.t.Errorf("%+v: to the origin it ended well", e)
	}
}

// A pieces reads a content in an errand's chunks, and after some bytes fails.
type pieces struct {
	rest  []byte
	chunk int
	left  int // until err; -1 for never
	err   error
}

func (p *pieces) Read(b []byte) (int, error) {
	n := min(len(p.rest), p.chunk, len(b))
	if p.left >= 0 {
		n = min(n, p.left)
	}
	if n == 0 && p.left == 0 {
		return 0, p.err
	}
	if n == 0 {
		return 0, io.EOF
	}
	copy(b, p.rest[:n])
	p.rest = p.rest[n:]
	if p.left >= 0 {
		p.left -= n
	}
	return n, nil
}
