package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrigger-mesh/outrigger/guard"
)

var errBroken = errors.New("broken")

// values yields each of vs, a second apart, and then err if it is not nil.
func values(err error, vs ...int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for _, v := range vs {
			if !yield(v, nil) {
				return
			}
			time.Sleep(time.Second)
		}
		if err != nil {
			yield(0, err)
		}
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last atomic.Int64
		late := make(chan error, 1)
		err := Follow(t.Context(), Watcher{}, values(errBroken, 1, 2, 3), func(v int) { last.Store(int64(v)) }, func(err error) { late <- err })
		if err != nil {
			t.Fatal(err)
		}
		if got := last.Load(); got != 1 {
			t.Errorf("applied %d before returning, want only 1", got)
		}
		if err := <-late; !errors.Is(err, errBroken) {
			t.Errorf("the late error handed on is %v, want errBroken", err)
		}
		if got := last.Load(); got != 3 {
			t.Errorf("applied %d in the end, want 3", got)
		}
	})
}

func TestFollowErrors(t *testing.T) {
	none := func(int) { t.Error("applied a value that never came") }
	if err := Follow(t.Context(), Watcher{}, values(nil), none); !errors.Is(err, ErrEnded) {
		t.Errorf("empty stream: %v, want ErrEnded", err)
	}
	if err := Follow(t.Context(), Watcher{}, values(errBroken), none); !errors.Is(err, errBroken) {
		t.Errorf("broken stream: %v, want errBroken", err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		never := func(func(int, error) bool) { <-ctx.Done() }
		if err := Follow(ctx, Watcher{}, never, none); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("silent stream: %v, want DeadlineExceeded", err)
		}
	})
}

func TestStatus(t *testing.T) {
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		err := status.Error(code, "said so")
		if err != nil {
			err = fmt.Errorf("controller: %w", err)
		}
		refused := code == codes.InvalidArgument || code == codes.FailedPrecondition
		unknown := code == codes.NotFound || code == codes.Unimplemented
		if Refused(err) != refused || Unknown(err) != unknown {
			t.Errorf("%v: refused %v, unknown %v", code, Refused(err), Unknown(err))
		}
	}
	if Refused(errBroken) || Unknown(errBroken) {
		t.Error("an error without a status counts as the control plane's word")
	}
}

// TestFollowPanics: a panic costs the value in hand, and the stream is begun anew.
func TestFollowPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var begun atomic.Int32
		stream := func(yield func(int, error) bool) {
			n := int(begun.Add(1))
			if n == 2 {
				panic("stream")
			}
			if yield(n, nil) {
				<-ctx.Done()
			}
		}
		var got []int
		counted := map[string]int{}
		w := Watcher{
			Stage: "test", Backoff: Backoff{Min: time.Second, Max: time.Minute},
			Guard: &guard.Guard{Log: slog.New(slog.DiscardHandler), Count: func(s string) { counted[s]++ }},
		}
		start := time.Now()
		err := Follow(ctx, w, stream, func(v int) {
			if v == 1 {
				panic("value")
			}
			got = append(got, v)
		})
		var lost *guard.Error
		if !errors.As(err, &lost) {
			t.Errorf("the first value: %v, want its panic", err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !slices.Equal(got, []int{3}) || counted["test"] != 2 {
			t.Errorf("applied %v, counted %v, after %v", got, counted, time.Since(start))
		}
	})
}
