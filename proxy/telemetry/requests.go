package telemetry

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// httpFamilies are the families that count requests at one place of a stack.
type httpFamilies struct {
	requests, responses *family
	latencies           *family // nil for tries, which Linkerd does not time
}

// latencyScale has Linkerd's buckets, on which its dashboards rely.
func latencyScale() *scale {
	return &scale{time.Millisecond, []float64{
		1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 100, 200, 300, 400, 500, 1000,
		2000, 3000, 4000, 5000, 10000, 20000, 30000, 40000, 50000,
	}}
}

func newHTTPFamilies(add func(*family) *family, prefix, what string) httpFamilies {
	f := httpFamilies{
		requests: add(&family{fresh: newCounter, views: []view{
			counterView(prefix+"request_total", what+" of which the body has begun to be read."),
		}}),
		responses: add(&family{fresh: newCounter, views: []view{
			counterView(prefix+"response_total", what+" that have been answered to the end, or have failed."),
		}}),
	}
	if prefix != "route_actual_" {
		f.latencies = add(&family{fresh: newHistogram(latencyScale()), views: []view{
			histogramView(prefix+"response_latency_ms", what+" from their start to the first data of the response, in milliseconds."),
		}})
	}
	return f
}

// Requests counts and times requests as request_total, response_total and
// response_latency_ms. A layer above retries sees requests, one below sees tries.
//
// A request is counted when the first of its body is read, or at once if it has
// none; one whose body nobody reads is not. A response is counted when its body
// has ended, or when it failed; one that its client gave up before the head is
// not. A tunnel is counted as it begins, since how a connection ends says nothing
// of the request that made it.
func (m *Metrics) Requests(l Labels) stack.Layer[stack.Service] { return m.layer(&m.endpoints, l) }

// RouteRequests counts and times requests as route_request_total and so on. It
// stands above retries.
func (m *Metrics) RouteRequests(l Labels) stack.Layer[stack.Service] { return m.layer(&m.routes, l) }

// RouteTries counts the tries of requests as route_actual_request_total and
// route_actual_response_total. It stands below retries.
func (m *Metrics) RouteTries(l Labels) stack.Layer[stack.Service] { return m.layer(&m.tries, l) }

func (m *Metrics) layer(f *httpFamilies, l Labels) stack.Layer[stack.Service] {
	c := newRequestCounts(m, f, l)
	return func(next stack.Service) stack.Service {
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			x := c.begin(ctx, r)
			returned := false
			defer func() {
				if !returned {
					x.failed(errLost)
				}
			}()
			resp, err := next(ctx, r)
			returned = true
			if err != nil {
				x.failed(err)
				return resp, err
			}
			x.answered(resp)
			return resp, nil
		}
	}
}

// errLost is why a request has no response that a panic has passed. Whoever catches
// that says more.
var errLost = errors.New("lost to a panic")

// requestCounts are the series of one place in one stack.
type requestCounts struct {
	*Metrics

	lease     *lease // on total
	total     *counter
	responses choice[outcome, *counter]
	latencies choice[int, *histogram] // by status
	timed     bool
}

func newRequestCounts(m *Metrics, f *httpFamilies, l Labels) *requestCounts {
	c := &requestCounts{Metrics: m, lease: f.requests.lend(key{first: l}, m.now()), timed: f.latencies != nil}
	c.total = c.lease.value.(*counter) // a family has values of one type
	c.responses.lend = func(o outcome) *lease {
		return f.responses.lend(key{l, o.labels()}, m.now())
	}
	c.latencies.lend = func(status int) *lease {
		return f.latencies.lend(key{l, statusLabels(status)}, m.now())
	}
	return c
}

// An exchange is one request's observer. It is recycled once both of its bodies,
// if both are observed, have ended.
type exchange struct {
	*requestCounts

	ctx    context.Context // it tells, at the end, whether the client has left
	start  time.Duration
	grpc   bool
	class  func(status int) (failure, decided bool) // of the route; or nil
	status int                                      // 0 until there is a response
	code   int                                      // gRPC's, if the response's head tells it; else stack.NoGRPCStatus
	body   stack.Body                               // for its trailer
	first  bool                                     // the latency is counted
	begun  bool                                     // the request is counted
	parts  atomic.Int32
}

func (c *requestCounts) begin(ctx context.Context, r *stack.Request) *exchange {
	x := c.pool.Get().(*exchange) // the pool makes no other
	x.requestCounts, x.ctx = c, ctx
	if c.timed {
		x.start = stack.Now(ctx)
	}
	x.grpc, x.class = r.GRPC(), r.Class
	x.parts.Store(1)
	if n, known := r.Body.Size(); known && n == 0 || r.WantsTunnel() {
		c.total.add()
		return x
	}
	x.parts.Store(2)
	r.Observe((*requestSide)(x))
	return x
}

// failed is told that there is no response.
func (x *exchange) failed(err error) {
	if !gone(x.ctx) {
		x.responses.of(outcome{code: stack.NoGRPCStatus, failed: true, err: x.text(err)}).add()
	}
	x.release()
}

// answered is told the response's head.
func (x *exchange) answered(resp *stack.Response) {
	x.status, x.code = resp.Status, stack.NoGRPCStatus
	if x.grpc || x.class != nil {
		x.code = resp.Header.GRPCStatus()
	}
	if resp.Tunnel {
		x.observe()
		x.responses.of(x.outcome(nil)).add()
		x.release()
		return
	}
	resp.Observe((*responseSide)(x))
	x.body = resp.Body
}

// observe counts the latency, at the first that comes after the head.
func (x *exchange) observe() {
	if !x.first && x.timed {
		x.latencies.of(x.status).observe(stack.Now(x.ctx) - x.start)
	}
	x.first = true
}

func (x *exchange) release() {
	if x.parts.Add(-1) > 0 {
		return
	}
	c := x.requestCounts
	*x = exchange{}
	c.pool.Put(x)
}

// requestSide is an exchange as its request's body sees it.
type requestSide exchange

// Data implements stack.Observer.
func (x *requestSide) Data([]byte) {
	if !x.begun {
		x.begun = true
		x.total.add()
	}
}

// End implements stack.Observer. A body that nobody has read from is not counted.
func (x *requestSide) End(err error) {
	if err == nil {
		x.Data(nil)
	}
	(*exchange)(x).release()
}

// responseSide is an exchange as its response's body sees it.
type responseSide exchange

// Data implements stack.Observer.
func (x *responseSide) Data([]byte) { (*exchange)(x).observe() }

// End implements stack.Observer.
func (x *responseSide) End(err error) {
	e := (*exchange)(x)
	e.observe()
	e.responses.of(e.outcome(err)).add()
	e.release()
}
