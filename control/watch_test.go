package control

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestWatch(t *testing.T) {
	var calls atomic.Int32
	addr, _ := serve(t, "127.0.0.1:0", &fake{get: func(_ *destination.GetDestination, s grpc.ServerStreamingServer[destination.Update]) error {
		call := calls.Add(1)
		if call%2 == 0 {
			return status.Error(codes.Internal, "a \"bad\" day")
		}
		for i := range call {
			if err := s.Send(update(uint32(i + 1))); err != nil {
				return err
			}
		}
		return nil
	}})
	var log logbook
	conf := config(t, addr)
	conf.Log = log.logger()
	c := dial(t, conf)
	var got []uint32
	var firsts []bool
	for m, err := range Watch(soon(t), c, "web:80", get(c)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, weight(m.M))
		firsts = append(firsts, m.First)
		if len(got) == 1+3+5 {
			break
		}
	}
	if want := []uint32{1, 1, 2, 3, 1, 2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("messages %v, want %v", got, want)
	}
	if want := []bool{true, true, false, false, true, false, false, false, false}; !slices.Equal(firsts, want) {
		t.Errorf("first: %v, want %v", firsts, want)
	}
	if n := strings.Count(log.String(), "stream of the control plane failed"); n != 1 {
		t.Errorf("%d failures were logged, want one for all that come in seconds:\n%s", n, &log)
	}
}

func TestWatchRefusals(t *testing.T) {
	for _, code := range []codes.Code{codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound, codes.Unimplemented} {
		addr, _ := serve(t, "127.0.0.1:0", &fake{get: func(*destination.GetDestination, grpc.ServerStreamingServer[destination.Update]) error {
			return status.Error(code, "no")
		}})
		c := dial(t, config(t, addr))
		times := 0
		for _, err := range Watch(soon(t), c, "web:80", get(c)) {
			if status.Code(err) != code {
				t.Fatalf("yielded %v, want %v", err, code)
			}
			if times++; times == 3 {
				break // it was asked again as long as we went on
			}
		}
		if times != 3 {
			t.Errorf("%v was yielded %d times, want as often as it came", code, times)
		}
	}
}

func TestWatchEnds(t *testing.T) {
	addr, _ := serve(t, "127.0.0.1:0", &fake{get: say(1)})
	for name, end := range map[string]func(*Client, context.CancelFunc){
		"its context":     func(_ *Client, cancel context.CancelFunc) { cancel() },
		"a closed Client": func(c *Client, _ context.CancelFunc) { c.Close() },
	} {
		c := dial(t, config(t, addr))
		ctx, cancel := context.WithCancel(t.Context())
		for _, err := range Watch(ctx, c, "web:80", get(c)) {
			if err != nil {
				t.Errorf("%s yielded %v", name, err)
			}
			end(c, cancel)
		}
		cancel()
	}
}

// A server that accepts and closes must not be asked again at full pace: the
// delays begin anew at a message, not at the response's headers.
func TestWatchBacksOffFromSilentEnds(t *testing.T) {
	var calls atomic.Int32
	addr, _ := serve(t, "127.0.0.1:0", &fake{get: func(_ *destination.GetDestination, s grpc.ServerStreamingServer[destination.Update]) error {
		calls.Add(1)
		return s.SendHeader(nil)
	}})
	conf := config(t, addr)
	conf.Backoff = Backoff{Min: 20 * time.Millisecond, Max: 10 * time.Second}
	var log logbook
	conf.Log = log.logger()
	c := dial(t, conf)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	for range Watch(ctx, c, "web:80", get(c)) {
		t.Error("yielded something")
	}
	if n := calls.Load(); n < 3 || n > 6 { // 20, 40, 80, 160, 320 ms
		t.Errorf("asked %d times in half a second, want about 5", n)
	}
	if n := strings.Count(log.String(), "failed"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, &log)
	}
}

func TestWatchOutlivesRestart(t *testing.T) {
	addr, stop := serve(t, "127.0.0.1:0", &fake{get: say(2)})
	c := dial(t, config(t, addr))
	n := 0
	for m, err := range Watch(soon(t), c, "web:80", get(c)) {
		if err != nil {
			t.Fatal(err)
		}
		if first := n%2 == 0; m.First != first {
			t.Errorf("message %d: first %v, want %v", n, m.First, first)
		}
		switch n++; n {
		case 2:
			stop()
			_, _ = serve(t, addr, &fake{get: say(2)})
		case 4:
			return
		}
	}
	t.Error("the watch ended")
}

func TestWatchSurvivesGarbage(t *testing.T) {
	addr, stop := serve(t, "127.0.0.1:0", &fake{get: say(1)})
	stop()
	garbage(t, addr)
	conf := config(t, addr)
	conf.Connect = 50 * time.Millisecond
	c := dial(t, conf)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for range Watch(ctx, c, "web:80", get(c)) {
		t.Error("yielded something")
	}
	if c.Outage() == nil {
		t.Error("no outage is told of")
	}
}
