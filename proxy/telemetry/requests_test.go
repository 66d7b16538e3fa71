package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// request returns a request with that content.
func request(content string, fields ...string) *stack.Request {
	r := &stack.Request{Method: "GET", Path: "/", Body: stack.Bytes([]byte(content))}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func response(status int, content string, fields ...string) *stack.Response {
	r := &stack.Response{Status: status, Body: stack.Bytes([]byte(content))}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func drain(ctx context.Context, b stack.Body) error {
	for {
		if _, err := b.Next(ctx); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// ask sends r through layer to a service that reads it and gives back that
// answer, which is read to its end.
func ask(t *testing.T, layer stack.Layer[stack.Service], r *stack.Request, answer *stack.Response, fail error) {
	t.Helper()
	ctx := t.Context()
	s := layer(func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
		if err := drain(ctx, r.Body); err != nil {
			t.Error(err)
		}
		return answer, fail
	})
	resp, err := s(ctx, r)
	if !errors.Is(err, fail) {
		t.Errorf("error %v, want %v", err, fail)
	}
	if resp != nil {
		_ = drain(ctx, resp.Body)
	}
}

// failing is a body that breaks after one chunk.
type failing struct {
	stack.Body
	err  error
	read bool
}

func (f *failing) Next(context.Context) ([]byte, error) {
	if f.read {
		return nil, f.err
	}
	f.read = true
	return []byte("x"), nil
}
func (f *failing) Size() (int64, bool) { return 0, false }

// trailed is a body with a trailer.
type trailed struct {
	stack.Body
	trailer stack.Header
}

func (t *trailed) Trailer() *stack.Header { return &t.trailer }

func withTrailer(r *stack.Response, name, value string) *stack.Response {
	b := &trailed{Body: r.Body}
	b.trailer.Add(name, value)
	r.Body = b
	return r
}

func TestOutcomes(t *testing.T) {
	grpc := []string{"content-type", "application/grpc+proto"}
	broken := errors.New("broken")
	reset := errors.New("reset")
	text := func(err error) string {
		if errors.Is(err, reset) {
			return "h2(CANCEL)"
		}
		return ""
	}
	for _, test := range []struct {
		name string
		r    *stack.Request
		resp *stack.Response
		err  error
		want string // the labels of response_total
	}{
		{"200", request(""), response(200, "x"), nil, `status_code="200",classification="success",grpc_status="",error=""`},
		{"304", request(""), response(304, ""), nil, `status_code="304",classification="success",grpc_status="",error=""`},
		{"418", request(""), response(418, "x"), nil, `status_code="418",classification="success",grpc_status="",error=""`},
		{"500", request("x"), response(500, "x"), nil, `status_code="500",classification="failure",grpc_status="",error=""`},
		{"504", request("x"), response(504, ""), nil, `status_code="504",classification="failure",grpc_status="",error=""`},
		{"error", request(""), nil, broken, `classification="failure",grpc_status="",error="unclassified"`},
		{"reset", request(""), nil, fmt.Errorf("server: %w", reset), `classification="failure",grpc_status="",error="h2(CANCEL)"`},
		{"grpc ok in head", request("x", grpc...), response(200, "", "grpc-status", "0"), nil, `status_code="200",classification="success",grpc_status="0",error=""`},
		{"grpc failure in head", request("x", grpc...), response(200, "", "grpc-status", "14"), nil, `status_code="200",classification="failure",grpc_status="14",error=""`},
		{"grpc failure in trailer", request("x", grpc...), withTrailer(response(200, "x"), "grpc-status", "13"), nil, `status_code="200",classification="failure",grpc_status="13",error=""`},
		{"head before trailer", request("x", grpc...), withTrailer(response(200, "x", "grpc-status", "5"), "grpc-status", "13"), nil, `status_code="200",classification="success",grpc_status="5",error=""`},
		{"grpc without status", request("x", grpc...), response(503, "x"), nil, `status_code="503",classification="success",grpc_status="2",error=""`},
		{"grpc nonsense", request("x", grpc...), response(200, "x", "grpc-status", "99999999999999999999"), nil, `status_code="200",classification="failure",grpc_status="2",error=""`},
		{"grpc negative", request("x", grpc...), response(200, "x", "grpc-status", "-1"), nil, `status_code="200",classification="failure",grpc_status="2",error=""`},
		{"grpc-status without grpc", request("x"), response(200, "x", "grpc-status", "13"), nil, `status_code="200",classification="success",grpc_status="",error=""`},
		{"body breaks", request(""), &stack.Response{Status: 200, Body: &failing{err: broken}}, nil, `status_code="200",classification="failure",grpc_status="",error="unclassified"`},
		{"body is reset", request("", grpc...), &stack.Response{Status: 200, Body: &failing{err: reset}}, nil, `status_code="200",classification="failure",grpc_status="",error="h2(CANCEL)"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := New(Options{RetainIdle: time.Minute, Cause: text})
			ask(t, m.Requests(Outbound.Labels()), test.r, test.resp, test.err)
			equalLines(t, exposed(t, m, "re"+"quest_total", "response_total"),
				`request_total{direction="outbound"} 1`,
				`response_total{direction="outbound",`+test.want+`} 1`)
		})
	}
}

func TestRequestCountedWhenRead(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	var unread stack.Body
	s := m.Requests(Labels{})(func(_ context.Context, r *stack.Request) (*stack.Response, error) {
		unread = r.Body
		return response(200, ""), nil
	})
	resp, err := s(t.Context(), request("content"))
	if err != nil {
		t.Fatal(err)
	}
	if err := drain(t.Context(), resp.Body); err != nil {
		t.Fatal(err)
	}
	if got := exposed(t, m, "request_total"); len(got) != 0 {
		t.Errorf("counted before anything was read: %q", got)
	}
	if _, err := unread.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	equalLines(t, exposed(t, m, "request_total"), "request_total 1")
}

func TestRequestThatNobodyReads(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	s := m.Requests(Labels{})(func(_ context.Context, r *stack.Request) (*stack.Response, error) {
		return response(413, ""), r.Body.Close(errors.New("too large"))
	})
	resp, err := s(t.Context(), request("content"))
	if err != nil {
		t.Fatal(err)
	}
	_ = drain(t.Context(), resp.Body)
	equalLines(t, exposed(t, m, "request_total", "response_total"),
		`response_total{status_code="413",classification="success",grpc_status="",error=""} 1`)
}

func TestClientLeaves(t *testing.T) {
	for _, test := range []struct {
		name  string
		cause error
		want  []string
	}{
		{"client", errors.New("client left"), nil},
		{"deadline", context.DeadlineExceeded, []string{`response_total{classification="failure",grpc_status="",error="unclassified"} 1`}},
	} {
		t.Run("before the head: "+test.name, func(t *testing.T) {
			m := New(Options{RetainIdle: time.Minute})
			ctx, cancel := context.WithCancelCause(t.Context())
			s := m.Requests(Labels{})(func(ctx context.Context, _ *stack.Request) (*stack.Response, error) {
				cancel(test.cause)
				return nil, context.Cause(ctx)
			})
			if _, err := s(ctx, request("")); !errors.Is(err, test.cause) {
				t.Errorf("error %v", err)
			}
			equalLines(t, exposed(t, m, "response_total"), test.want...)
		})
	}
	t.Run("after the head", func(t *testing.T) {
		m := New(Options{RetainIdle: time.Minute})
		var x stack.Exchange
		x.Begin()
		s := m.Requests(Labels{})(func(context.Context, *stack.Request) (*stack.Response, error) {
			return response(200, "x"), nil
		})
		resp, _ := s(&x, request(""))
		x.End(errors.New("client left"))
		_ = resp.Body.Close(errors.New("write: connection reset"))
		equalLines(t, exposed(t, m, "response_total"),
			`response_total{status_code="200",classification="success",grpc_status="",error=""} 1`)
	})
	t.Run("without a word", func(t *testing.T) {
		m := New(Options{RetainIdle: time.Minute})
		s := m.Requests(Labels{})(func(context.Context, *stack.Request) (*stack.Response, error) {
			return response(500, "x"), nil
		})
		resp, _ := s(t.Context(), request(""))
		_ = resp.Body.Close(nil)
		_ = resp.Body.Close(errors.New("late"))
		equalLines(t, exposed(t, m, "response_total"),
			`response_total{status_code="500",classification="failure",grpc_status="",error=""} 1`)
	})
}

func TestTunnelIsCountedAsItBegins(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	var tunnel *stack.Response
	s := m.Requests(Labels{})(func(context.Context, *stack.Request) (*stack.Response, error) {
		tunnel = response(101, "x")
		tunnel.Tunnel = true
		return tunnel, nil
	})
	r := request("up", "upgrade", "websocket")
	if _, err := s(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"request_total 1", "response_latency_ms_count{status_code=\"101\"} 1",
		`response_total{status_code="101",classification="success",grpc_status="",error=""} 1`,
	}
	equalLines(t, exposed(t, m, "request_total", "response_latency_ms_count", "response_total"), want...)
	_ = tunnel.Body.Close(errors.New("reset"))
	equalLines(t, exposed(t, m, "request_total", "response_latency_ms_count", "response_total"), want...)
}

// slow is a body that waits before every chunk.
type slow struct {
	chunks int
	wait   func()
	stack.Body
}

func (s *slow) Next(context.Context) ([]byte, error) {
	s.wait()
	if s.chunks--; s.chunks == 0 {
		return []byte("x"), io.EOF
	}
	return []byte("x"), nil
}

func TestLatencyEndsWithFirstData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{RetainIdle: time.Minute})
		s := m.Requests(Labels{})(func(context.Context, *stack.Request) (*stack.Response, error) {
			time.Sleep(3 * time.Millisecond)
			return &stack.Response{Status: 200, Body: &slow{
				chunks: 5, wait: func() { time.Sleep(4500 * time.Microsecond) }, Body: stack.Empty(),
			}}, nil
		})
		resp, err := s(t.Context(), request(""))
		if err != nil {
			t.Fatal(err)
		}
		if err := drain(t.Context(), resp.Body); err != nil {
			t.Fatal(err)
		}
		ask(t, m.Requests(Labels{}), request(""), response(500, ""), nil)
		got := exposed(t, m, `response_latency_ms_bucket{status_code="200",le="5"}`, `response_latency_ms_bucket{status_code="200",le="10"}`,
			`response_latency_ms_bucket{status_code="200",le="+Inf"}`, `response_latency_ms_sum`, `response_latency_ms_bucket{status_code="500",le="1"}`)
		equalLines(t, got,
			`response_latency_ms_bucket{status_code="200",le="5"} 0`,
			`response_latency_ms_bucket{status_code="200",le="10"} 1`,
			`response_latency_ms_bucket{status_code="200",le="+Inf"} 1`,
			`response_latency_ms_sum{status_code="200"} 7.5`,
			`response_latency_ms_bucket{status_code="500",le="1"} 1`,
			`response_latency_ms_sum{status_code="500"} 0`)
	})
}

func TestLatencyBuckets(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	ask(t, m.Requests(Labels{}), request(""), response(200, ""), nil)
	var bounds []string
	for _, line := range exposed(t, m, "response_latency_ms_bucket") {
		_, rest, _ := strings.Cut(line, `le="`)
		bound, _, _ := strings.Cut(rest, `"`)
		bounds = append(bounds, bound)
	}
	const want = "1 2 3 4 5 10 20 30 40 50 100 200 300 400 500 1000 2000 3000 4000 5000 10000 20000 30000 40000 50000 +Inf"
	if got := strings.Join(bounds, " "); got != want {
		t.Errorf("got %s", got)
	}
}

// TestConcurrent has many stacks share series, with requests and responses that
// end in different goroutines.
func TestConcurrent(t *testing.T) {
	m := New(Options{RetainIdle: time.Minute})
	const workers, each = 8, 200
	done := make(chan error, workers)
	for range workers {
		layer := m.Requests(Outbound.Labels())
		go func() { done <- manyRequests(t.Context(), layer, each) }()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	var total int
	for _, line := range exposed(t, m, "response_total") {
		var n int
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' '):], &n); err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if total != workers*each {
		t.Errorf("%d responses, want %d", total, workers*each)
	}
	equalLines(t, exposed(t, m, "request_total"), fmt.Sprintf(`request_total{direction="outbound"} %d`, workers*each))
}

func manyRequests(ctx context.Context, layer stack.Layer[stack.Service], n int) error {
	for i := range n {
		read := make(chan error, 1)
		s := layer(func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			go func() { read <- drain(ctx, r.Body) }()
			return response(200+i%5, "x"), nil
		})
		resp, err := s(ctx, request("x"))
		if err != nil {
			return err
		}
		if err := errors.Join(drain(ctx, resp.Body), <-read); err != nil {
			return err
		}
	}
	return nil
}

// exchangeOnce is one request through layer, on messages that are used again.
func exchangeOnce(layer stack.Layer[stack.Service]) func() {
	var r stack.Request
	var resp stack.Response
	none, content := stack.Empty(), &again{chunk: []byte("x")}
	ctx := context.Background()
	s := layer(func(context.Context, *stack.Request) (*stack.Response, error) {
		resp.Reset()
		resp.Status, resp.Body = 200, content
		return &resp, nil
	})
	return func() {
		r.Reset()
		r.Method, r.Body = "GET", none
		answer, err := s(ctx, &r)
		if err != nil {
			panic(err)
		}
		if _, err := answer.Body.Next(ctx); !errors.Is(err, io.EOF) {
			panic(err)
		}
	}
}

// again is a body of one chunk that can be read any number of times.
type again struct {
	chunk []byte
	stack.Body
}

func (a *again) Next(context.Context) ([]byte, error) { return a.chunk, io.EOF }

func TestRequestsAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	m := New(Options{RetainIdle: time.Minute})
	once := exchangeOnce(m.Requests(Outbound.Labels()))
	if n := testing.AllocsPerRun(1000, once); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
}

func BenchmarkRequests(b *testing.B) {
	m := New(Options{RetainIdle: time.Minute})
	once := exchangeOnce(m.Requests(Outbound.Labels()))
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// BenchmarkBare is what the benchmark above costs without its layer.
func BenchmarkBare(b *testing.B) {
	once := exchangeOnce(func(s stack.Service) stack.Service { return s })
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}
