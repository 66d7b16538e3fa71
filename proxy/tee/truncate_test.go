package tee_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/tee"
)

// TestNothingTruncatedIsCommitted has responses break off at a random byte, in each
// of the ways in which they can, through both codecs.
func TestNothingTruncatedIsCommitted(t *testing.T) { truncate(t, 300) }

// A cut is a response that is to break off: its path says how, how long it is to
// be, and how much of it comes.
type cut struct {
	how      string
	size, at int
}

func (c cut) path() string { return fmt.Sprintf("/%s/%d/%d", c.how, c.size, c.at) }

func cutOf(path string) cut {
	parts := strings.Split(path, "/")
	size, _ := strconv.Atoi(parts[2])
	at, _ := strconv.Atoi(parts[3])
	return cut{parts[1], size, at}
}

// data is what c's content is to be.
func (c cut) data() []byte {
	p := make([]byte, c.size)
	for i := range p {
		p[i] = byte(i ^ i>>8)
	}
	return p
}

// whole are those that come whole: without them nobody would notice if nothing was
// ever committed.
func (c cut) whole() bool { return strings.HasPrefix(c.how, "whole") }

func truncate(t *testing.T, n int) {
	t.Helper()
	tees := newTee(t)
	consumer := tees.Consumer(tee.Options{Name: "store"})
	var commits, wholes, shown atomic.Int64
	on := func(r *stack.Request, resp *stack.Response) {
		if resp == nil {
			return
		}
		c := cutOf(strings.Clone(r.Path))
		err := consumer.Response(r, resp, func(ctx context.Context, s *tee.Stream) error {
			var got []byte
			for {
				chunk, err := s.Next(ctx)
				got = append(got, chunk...)
				switch {
				case err == io.EOF: //nolint:errorlint // the contract is io.EOF itself
					if commits.Add(1); !c.whole() || !bytes.Equal(got, c.data()) {
						t.Errorf("%s was committed, with %d bytes", c.path(), len(got))
					}
					return nil
				case err != nil:
					return err
				}
			}
		})
		if err != nil {
			t.Error(err)
		}
		shown.Add(1)
	}
	one, two := relay1(t, origin1(t, breakOff1), on), relay2(t, origin2(t, breakOff2), on)
	client := client2(t)
	how1 := []string{"whole-length", "whole-chunks", "reset", "short", "chunks", "end", "end-reset", "abort", "abort-chunks"}
	how2 := []string{"whole-length", "whole-grpc", "reset", "short", "grpc", "abort"}
	var clients sync.WaitGroup
	for worker := range 4 {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(worker), 2))
			for i := range n / 4 {
				size := 2 + rnd.IntN(1<<rnd.IntN(18))
				c := cut{size: size, at: rnd.IntN(size - 1)}
				if i%2 == 0 {
					c.how = how1[rnd.IntN(len(how1))]
					c.ask1(t, one)
				} else {
					c.how = how2[rnd.IntN(len(how2))]
					c.ask2(t, client, two)
				}
				if c.whole() {
					wholes.Add(1)
				}
			}
		})
	}
	clients.Wait()
	if err := tees.Close(patience); err != nil {
		t.Error(err)
	}
	if commits.Load() != wholes.Load() || wholes.Load() == 0 || shown.Load() == wholes.Load() {
		t.Errorf("%d of %d responses were whole, and %d were committed", wholes.Load(), shown.Load(), commits.Load())
	}
	t.Logf("%d responses, %d whole, %d committed; ends %v", shown.Load(), wholes.Load(), commits.Load(), tees.Stats().Ends)
}

// breakOff1 answers as path says.
func breakOff1(c *net.TCPConn, path string) {
	k := cutOf(path)
	data := k.data()
	head := "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(k.size) + "\r\n\r\n"
	switch k.how {
	case "whole-chunks", "chunks", "abort-chunks":
		head = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
		half := k.at / 2
		var b bytes.Buffer
		for _, part := range [][]byte{data[:half], data[half:k.at], data[k.at:]} {
			if len(part) > 0 {
				fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
			}
		}
		if data = b.Bytes(); k.how == "whole-chunks" {
			data = append(data, "0\r\n\r\n"...)
		}
	case "end", "end-reset":
		head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
		data = data[:k.at]
	case "reset", "short", "abort":
		data = data[:k.at]
	}
	_, _ = io.WriteString(c, head)
	_, _ = c.Write(data)
	switch k.how {
	case "reset", "end-reset":
		_ = c.SetLinger(0)
	case "abort", "abort-chunks":
		gone(c)
	}
}

// breakOff2 does the same for HTTP/2.
func breakOff2(w http.ResponseWriter, r *http.Request) {
	k := cutOf(r.URL.Path)
	data := k.data()
	switch k.how {
	case "whole-grpc", "grpc":
		w.Header().Set("content-type", "application/grpc")
		w.Header().Set("trailer", "grpc-status")
		_, _ = w.Write(data)
		if k.how == "whole-grpc" {
			w.Header().Set("grpc-status", "0")
		}
		return
	case "whole-length":
		w.Header().Set("content-length", strconv.Itoa(k.size))
		_, _ = w.Write(data)
		return
	}
	if k.how == "short" {
		w.Header().Set("content-length", strconv.Itoa(k.size))
	}
	_, _ = w.Write(data[:k.at])
	_ = http.NewResponseController(w).Flush()
	switch k.how {
	case "reset":
		panic(http.ErrAbortHandler)
	case "abort":
		<-r.Context().Done()
	}
}

// ask1 reads c's response, or leaves amid it.
func (c cut) ask1(t *testing.T, addr string) {
	t.Helper()
	rd := bufio.NewReader(nil)
	conn, err := ask1(addr, c.path(), rd)
	if conn == nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	if strings.HasPrefix(c.how, "abort") {
		_, _ = io.CopyN(io.Discard, rd, int64(c.at/2))
		_ = conn.SetLinger(0)
		return
	}
	_, _ = io.Copy(io.Discard, rd)
}

// ask2 does the same over HTTP/2.
func (c cut) ask2(t *testing.T, client *http.Client, addr string) {
	t.Helper()
	resp, err := client.Get("http://" + addr + c.path())
	if err != nil {
		return // it was reset ahead of its head
	}
	defer resp.Body.Close()
	if c.how == "abort" {
		_, _ = io.CopyN(io.Discard, resp.Body, int64(c.at/2))
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
}
