//go:build faults

package stack

import (
	"context"
	"path"
	"reflect"
	"runtime"
	"strings"

	"github.com/outrigger-mesh/outrigger/guard"
)

// faulty returns s, which layer has made, with a guard.Point before it and another
// after: so a test can have every layer panic, with nothing in hand and with what the
// layers below have answered, and none need be named. A Chain within a Chain is not
// a layer; what it joins are.
func faulty[S any](layer Layer[S], s S) S {
	name := funcName(reflect.ValueOf(layer).Pointer())
	if strings.Contains(name, "stack.Chain") {
		return s
	}
	name = "layer " + name + " in " + builder()
	switch next := any(s).(type) {
	case Service:
		return any(faultyService(name, next)).(S)
	case Handler:
		return any(faultyHandler(name, next)).(S)
	default:
		return s
	}
}

func faultyService(name string, next Service) Service {
	return func(ctx context.Context, r *Request) (*Response, error) {
		guard.Point(name)
		resp, err := next(ctx, r)
		guard.Point(name + ", answered")
		return resp, err
	}
}

func faultyHandler(name string, next Handler) Handler {
	return func(ctx context.Context, c *Conn) error {
		guard.Point(name)
		err := next(ctx, c)
		guard.Point(name + ", served")
		return err
	}
}

// builder returns which function of a stack has called Chain.
func builder() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.Contains(f.Function, "proxy/stack.") || !more {
			name, _, _ := strings.Cut(path.Base(f.Function), ".func")
			return strings.TrimSuffix(strings.Split(name, ".Chain")[0], ".")
		}
	}
}

func funcName(pc uintptr) string {
	if f := runtime.FuncForPC(pc); f != nil {
		return path.Base(f.Name())
	}
	return "unknown"
}
