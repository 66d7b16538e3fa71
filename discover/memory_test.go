package discover

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestMemory(t *testing.T) {
	m := NewMemory[string, int](2)
	m.Keep("a", 1)
	m.Keep("b", 2)
	m.Keep("a", 3)
	m.Keep("c", 4) // b was used longest ago
	if _, ok := m.Recall("b"); ok {
		t.Error("b is remembered, beyond the limit")
	}
	if v, ok := m.Recall("a"); !ok || v != 3 {
		t.Errorf("a is %d, %v, want 3", v, ok)
	}
	m.Keep("d", 5) // c was
	if _, ok := m.Recall("c"); ok {
		t.Error("c is remembered, though a was recalled since")
	}
	m.Forget("a")
	m.Forget("a")
	if _, ok := m.Recall("a"); ok {
		t.Error("a is remembered after Forget")
	}
	if n := m.order.Len(); n != 1 || len(m.memos) != 1 {
		t.Errorf("%d and %d values, want one", n, len(m.memos))
	}
}

func TestMemoryOfNothing(t *testing.T) {
	m := NewMemory[string, int](0)
	m.Keep("a", 1)
	if _, ok := m.Recall("a"); ok {
		t.Error("a is remembered")
	}
}

// canned are a Resolver's answers, one for each Resolve. A nil one is silence.
type canned [][]event

func (c *canned) Resolve(ctx context.Context, destination string) Stream {
	events := (*c)[0]
	*c = (*c)[1:]
	return scripted(Config{}, events...).Resolve(ctx, destination)
}

func TestRemembering(t *testing.T) {
	refused := status.Error(codes.FailedPrecondition, "no")
	for name, tc := range map[string]struct {
		first, second []event
		want          []string // of the second
		err           error
	}{
		"nothing to remember":         {nil, []event{{add(1), true, nil}}, []string{"1"}, context.DeadlineExceeded},
		"silence":                     {[]event{{add(1), true, nil}, {add(2), false, nil}}, nil, []string{"1 2 stale"}, context.DeadlineExceeded},
		"fresh values take its place": {[]event{{add(1), true, nil}}, []event{{add(1), true, nil}, {add(2), true, nil}}, []string{"1 stale", "1", "2"}, context.DeadlineExceeded},
		"a destination that is gone":  {[]event{{add(1), true, nil}, {none(false), true, nil}}, nil, nil, context.DeadlineExceeded},
		"refused at last":             {[]event{{add(1), true, nil}, {&pb.Update{}, false, refused}}, nil, []string{"1 stale"}, context.DeadlineExceeded},
		"refused when asked again":    {[]event{{add(1), true, nil}}, []event{{nil, false, refused}}, []string{"1 stale"}, refused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := Remembering(&canned{tc.first, tc.second}, 4)
				collect(t, r)
				got, err := collect(t, r)
				if !slices.Equal(got, tc.want) || !errors.Is(err, tc.err) {
					t.Errorf("got %q, %v, want %q, %v", got, err, tc.want, tc.err)
				}
			})
		})
	}
}
