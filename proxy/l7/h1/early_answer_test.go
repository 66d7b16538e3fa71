package h1

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// endless is a body whose end comes apart from its content, as over HTTP/2.
type endless struct {
	stack.Body
	content []byte
}

func (b *endless) Next(context.Context) ([]byte, error) {
	chunk := b.content
	b.content = nil
	if chunk == nil {
		return nil, io.EOF
	}
	return chunk, nil
}
func (b *endless) Size() (int64, bool) { return size, true }

const size = 64 << 10

// TestAnswerAheadOfTheEnd has a server that answers on a kept connection as soon as
// it has the content, before the client's end has come. Nobody may take that for
// bytes that were not asked for.
func TestAnswerAheadOfTheEnd(t *testing.T) {
	answered := make(chan struct{}, 1)
	addr := httpOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("content-length", "0")
		if _ = http.NewResponseController(w).Flush(); n > 0 {
			answered <- struct{}{}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pool := NewPool(ctx, dialer(addr, raw), testParams(), nil)
	for _, late := range []bool{false, true} {
		r := &stack.Request{Version: stack.HTTP11, Method: "PUT", Authority: "a", Path: "/", Body: stack.Empty()}
		r.Header.Add("host", "a")
		x := &stack.Exchange{}
		if late { // what waits is called when the beginning has been written
			r.Body = &endless{stack.Empty(), make([]byte, size)}
			x.Flush = func() { wait(t, answered, "the answer") }
		}
		resp, err := pool.Do(x, r)
		if err != nil || resp.Status != 200 {
			t.Fatalf("%+v, %v", resp, err)
		}
		if _, err = resp.Body.Next(x); err != io.EOF { //nolint:errorlint // the contract is io.EOF itself
			t.Error(err)
		}
		_ = resp.Body.Close(nil)
	}
}
