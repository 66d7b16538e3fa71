package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// rss is how many bytes of memory the program has now, its text and all.
func (s *sidecar) rss(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// settled is the program's memory once it has stopped changing, or a while has gone by.
func (s *sidecar) settled(t *testing.T) int {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	now := s.rss(t)
	for range 20 {
		<-tick.C
		was := now
		if now = s.rss(t); now > was-128<<10 && now < was+128<<10 {
			break
		}
	}
	return now
}

// slack is what a process may grow by, whatever it is asked to hold.
const slack = 6 << 20

// grown fails the test if the program has more than each bytes for each of n more than
// it had before.
func (s *sidecar) grown(t *testing.T, before, n, each int) {
	t.Helper()
	peak := s.rss(t)
	now := s.settled(t)
	t.Logf("%d of them: %d bytes each; %.1f MiB before, %.1f MiB with them, %.1f MiB after a while",
		n, (now-before)/n, float64(before)/(1<<20), float64(peak)/(1<<20), float64(now)/(1<<20))
	if now-before > n*each+slack {
		t.Errorf("%d bytes each, and at most %d are allowed", (now-before)/n, each)
	}
}

// TestMemory is what a sidecar holds for connections, streams and readers that do
// nothing.
func TestMemory(t *testing.T) { memory(t, 1000, 100) }

func memory(t *testing.T, idle, blocked int) {
	t.Helper()
	for _, test := range []struct {
		name string
		n    int
		each int
		run  func(t *testing.T, n, each int)
	}{
		// Half of it is a stack of 4 KiB.
		{"idle connections of HTTP/1", idle, 8 << 10, idleConns(false)},
		{"idle connections of HTTP/2", idle, 16 << 10, idleConns(true)},
		{"streams of gRPC", idle, 12 << 10, idleStreams},
		// Beside what a reader costs there is one buffer of 32 KiB, and no more of its 100 MB.
		{"blocked readers of HTTP/1", blocked, 96 << 10, blockedReaders(false)},
		{"blocked readers of HTTP/2", blocked, 32 << 10, blockedReaders(true)},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, test.n, test.each) })
	}
}

// idleConns opens n connections, each for one request.
func idleConns(two bool) func(*testing.T, int, int) {
	return func(t *testing.T, n, each int) {
		t.Helper()
		s := start(t, bothOrigin(t), "h1")
		dialEach(t, s, 10, two, "/") // what is made once
		before := s.settled(t)
		dialEach(t, s, n, two, "/")
		<-time.After(time.Second) // in which those of HTTP/1 are parked
		s.grown(t, before, n, each)
	}
}

// blockedReaders have each asked for 100 MB, and do not read on.
func blockedReaders(two bool) func(*testing.T, int, int) {
	return func(t *testing.T, n, each int) {
		t.Helper()
		s := start(t, bothOrigin(t), "h1")
		dialEach(t, s, 10, two, "/")
		before := s.settled(t)
		if two {
			dialStreams(t, s, n)
		} else {
			dialEach(t, s, n, false, "/big")
		}
		s.grown(t, before, n, each)
	}
}

func dialEach(t *testing.T, s *sidecar, n int, two bool, path string) {
	t.Helper()
	var clients sync.WaitGroup
	for i := range 20 {
		clients.Go(func() {
			for j := i; j < n; j += 20 {
				c, err := net.Dial("tcp", s.listen)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { c.Close() })
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				ask := askOne
				if two {
					ask = askTwo
				}
				if err := ask(c, path); err != nil {
					t.Errorf("connection %d: %v", j, err)
					return
				}
			}
		})
	}
	clients.Wait()
}

// askOne makes one request of HTTP/1 and reads its answer, but for what is big.
func askOne(c net.Conn, path string) error {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(c, 4<<10), nil)
	if err != nil || path == "/big" {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// askTwo makes one request of HTTP/2.
func askTwo(c net.Conn, path string) error {
	_, _ = io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	_ = f.WriteSettings()
	if err := begin(f, 1, path); err != nil {
		return err
	}
	for {
		got, err := f.ReadFrame()
		if err != nil {
			return err
		}
		if s, ok := got.(*http2.SettingsFrame); ok && !s.IsAck() {
			_ = f.WriteSettingsAck()
		}
		if got.Header().StreamID == 1 && got.Header().Flags.Has(http2.FlagDataEndStream) {
			return nil
		}
	}
}

func begin(f *http2.Framer, id uint32, path string) error {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	enc.SetMaxDynamicTableSize(0)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", path}, {":authority", "a"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
}

// dialStreams has n streams, a hundred on a connection, whose client gives no credit.
// It waits until each has its head.
func dialStreams(t *testing.T, s *sidecar, n int) {
	t.Helper()
	const perConn = 100
	for range n / perConn {
		c, err := net.Dial("tcp", s.listen)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(c, http2.ClientPreface)
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for i := range perConn {
			if err := begin(f, uint32(2*i+1), "/big"); err != nil {
				t.Fatal(err)
			}
		}
		for heads := 0; heads < perConn; {
			got, err := f.ReadFrame()
			if err != nil {
				t.Fatalf("after %d heads: %v", heads, err)
			}
			if got.Header().Type == http2.FrameHeaders {
				heads++
			}
		}
	}
}

// idleStreams opens n streams on ten connections, each of which has sent one message,
// and received one.
func idleStreams(t *testing.T, n, each int) {
	t.Helper()
	s := start(t, interopServer(t), "h2")
	open := func(n int) {
		var clients sync.WaitGroup
		for range 10 {
			cc, err := grpc.NewClient("passthrough:///"+s.listen, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cc.Close() })
			clients.Go(func() {
				for range n / 10 {
					if err := exchange(t.Context(), cc); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		clients.Wait()
	}
	open(10)
	before := s.settled(t)
	open(n)
	s.grown(t, before, n, each)
}

func exchange(ctx context.Context, cc *grpc.ClientConn) error {
	stream, err := testgrpc.NewTestServiceClient(cc).FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 10}}}); err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}

// bothOrigin answers in both versions, /big with 100 MB.
func bothOrigin(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/big" {
			fmt.Fprint(w, "hello")
			return
		}
		_ = http.NewResponseController(w).Flush()
		chunk := make([]byte, 64<<10)
		for sent := 0; sent < 100_000_000; sent += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}
