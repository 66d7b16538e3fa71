package l7_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hello answers every request.
func hello(context.Context, *stack.Request) (*stack.Response, error) {
	return &stack.Response{Status: 200, Body: stack.Bytes([]byte("hello"))}, nil
}

// unreachable fails the test when a request reaches it.
func unreachable(t *testing.T) stack.Service {
	t.Helper()
	return func(context.Context, *stack.Request) (*stack.Response, error) {
		t.Error("the request was passed on")
		return nil, context.Canceled
	}
}

func request() *stack.Request {
	r := &stack.Request{Version: stack.HTTP11, Method: "GET", Authority: "app.test", Path: "/", Body: stack.Empty(), Conn: &stack.Conn{}}
	r.Header.Add("host", "app.test")
	return r
}
