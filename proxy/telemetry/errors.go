package telemetry

import (
	"context"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

func httpErrorFamily(d Direction) *family {
	return &family{fresh: newCounter, permanent: true, views: []view{
		counterView(string(d)+"_http_errors_total", "HTTP requests that the proxy has failed, by why."),
	}}
}

func tcpErrorFamily(d Direction) *family {
	return &family{fresh: newCounter, permanent: true, views: []view{
		counterView(string(d)+"_tcp_errors_total", "Connections that the proxy has failed, by why."),
	}}
}

// HTTPErrors counts errors as outbound_http_errors_total or
// inbound_http_errors_total. It stands right below rescue. Kind gives the label
// error, from a small set such as "failfast" and "unexpected"; an error of which
// it says "" is not counted, nor is one whose client has left.
func (m *Metrics) HTTPErrors(d Direction, l Labels, kind func(error) string) stack.Layer[stack.Service] {
	f := m.httpErrors.of(d)
	kinds := &choice[string, *counter]{lend: func(kind string) *lease {
		return f.lend(key{Label("error", kind), l}, m.now())
	}}
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			resp, err := next(ctx, r)
			if err != nil && !gone(ctx) {
				if k := kind(err); k != "" {
					kinds.of(k).add()
				}
			}
			return resp, err
		}
	}
}

// TCPErrors counts errors as outbound_tcp_errors_total or
// inbound_tcp_errors_total. It may stand where connections to many destinations
// pass, and so labels each by itself, after it has failed. Kind is as for
// HTTPErrors.
func (m *Metrics) TCPErrors(d Direction, labels func(*stack.Conn) Labels, kind func(error) string) stack.Layer[stack.Handler] {
	f := m.tcpErrors.of(d)
	failed := func(c *stack.Conn, err error) { // apart, so that its frame is not on every connection's stack
		k := kind(err)
		if k == "" {
			return
		}
		of := key{labels(c), Label("error", k)}
		if d == Inbound {
			of = key{of.second, of.first} // Linkerd has them so
		}
		f.lend(of, m.now()).value.(*counter).add() // a family has values of one type
	}
	return func(next stack.Handler) stack.Handler {
		return func(ctx context.Context, c *stack.Conn) error {
			err := next(ctx, c)
			if err != nil {
				failed(c, err)
			}
			return err
		}
	}
}
