package proxy

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	destpb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	netpb "github.com/linkerd/linkerd2-proxy-api/go/net"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A fault is what a control plane does in place of its work. What is nil is sound.
type fault struct {
	conn    func(net.Conn)        // with a connection, which it has to itself
	get     func(s speaker) error // with a question for endpoints
	profile func(s speaker) error // for a profile
	policy  func(s speaker) error // for a policy
}

// A speaker says messages, or bytes that are to be taken for one.
type speaker struct{ grpc.ServerStream }

// A faultyControl is a control plane that can be given faults. It knows every
// name's profile, no policy, and one endpoint of all.
type faultyControl struct {
	endpoint string
	listener net.Listener
	sound    chan net.Conn // connections for the sound server
	closed   chan struct{}

	mu     sync.Mutex
	fault  fault
	over   chan struct{} // closed when fault is
	conns  map[net.Conn]bool
	opened atomic.Int32 // connections
	asked  atomic.Int32 // streams
}

func startFaulty(t *testing.T, endpoint string) *faultyControl {
	t.Helper()
	l, err := net.Listen("tcp", freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	f := &faultyControl{
		endpoint: endpoint, listener: l, sound: make(chan net.Conn), closed: make(chan struct{}),
		over: make(chan struct{}), conns: make(map[net.Conn]bool),
	}
	s := grpc.NewServer(grpc.WaitForHandlers(true), grpc.ForceServerCodecV2(bytesToo{encoding.GetCodecV2("proto")}))
	destpb.RegisterDestinationServer(s, faultyDestination{f: f})
	pb.RegisterOutboundPoliciesServer(s, faultyPolicies{f: f})
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(f) })
	serving.Go(func() { f.front(&serving) })
	t.Cleanup(func() {
		close(f.closed)
		f.set(fault{})
		s.Stop()
		serving.Wait()
	})
	return f
}

// front gives each connection to the fault, or to the sound server.
func (f *faultyControl) front(serving *sync.WaitGroup) {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.opened.Add(1)
		f.mu.Lock()
		now := f.fault
		f.conns[c] = true
		f.mu.Unlock()
		if now.conn != nil {
			serving.Go(func() { now.conn(c); _ = c.Close() })
			continue
		}
		select {
		case f.sound <- c:
		case <-f.closed:
			_ = c.Close()
		}
	}
}

// Accept, Close and Addr make f what the sound server listens on.
func (f *faultyControl) Accept() (net.Conn, error) {
	select {
	case c := <-f.sound:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *faultyControl) Close() error   { return f.listener.Close() }
func (f *faultyControl) Addr() net.Addr { return f.listener.Addr() }

// set makes to what is wrong, and ends all that was begun before.
func (f *faultyControl) set(to fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = to
	close(f.over)
	f.over = make(chan struct{})
	for c := range f.conns {
		_ = c.Close()
	}
	clear(f.conns)
	f.opened.Store(0)
	f.asked.Store(0)
}

// say does what is wrong with a question, or gives the sound answer to it.
func (f *faultyControl) say(s grpc.ServerStream, which func(fault) func(speaker) error, sound proto.Message) error {
	f.asked.Add(1)
	f.mu.Lock()
	wrong, over := which(f.fault), f.over
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	go func() {
		select {
		case <-over:
		case <-ctx.Done():
		}
		cancel()
	}()
	if wrong != nil {
		return wrong(speaker{bounded{s, ctx}})
	}
	if sound == nil {
		return status.Error(codes.NotFound, "known to nobody")
	}
	if err := s.SendMsg(sound); err != nil {
		return err
	}
	<-ctx.Done()
	return status.Error(codes.Unavailable, "over")
}

// bounded is a stream whose context ends with the fault.
type bounded struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // it is the stream's
}

func (b bounded) Context() context.Context { return b.ctx }

type faultyDestination struct {
	destpb.UnimplementedDestinationServer
	f *faultyControl
}

func (d faultyDestination) Get(_ *destpb.GetDestination, s grpc.ServerStreamingServer[destpb.Update]) error {
	return d.f.say(s, func(w fault) func(speaker) error { return w.get }, oneEndpoint(d.f.endpoint, nil))
}

func (d faultyDestination) GetProfile(ask *destpb.GetDestination, s grpc.ServerStreamingServer[destpb.DestinationProfile]) error {
	name, _, _ := strings.Cut(ask.GetPath(), ":")
	return d.f.say(s, func(w fault) func(speaker) error { return w.profile }, &destpb.DestinationProfile{FullyQualifiedName: name})
}

type faultyPolicies struct {
	pb.UnimplementedOutboundPoliciesServer
	f *faultyControl
}

func (p faultyPolicies) Watch(_ *pb.TrafficSpec, s grpc.ServerStreamingServer[pb.OutboundPolicy]) error {
	return p.f.say(s, func(w fault) func(speaker) error { return w.policy }, nil)
}

// bytesToo sends bytes as they stand.
type bytesToo struct{ encoding.CodecV2 }

func (b bytesToo) Marshal(v any) (mem.BufferSlice, error) {
	if raw, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(raw)}, nil
	}
	return b.CodecV2.Marshal(v)
}

// What may be wrong with connections.

func writing(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// unread keeps the connection, and reads what comes, without an answer.
func unread(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// greeted speaks HTTP/2 as far as SETTINGS, and then does more.
func greeted(more func(*http2.Framer)) func(net.Conn) {
	return func(c net.Conn) {
		framer := http2.NewFramer(c, c)
		_, _ = io.CopyN(io.Discard, c, int64(len(http2.ClientPreface)))
		if framer.WriteSettings() == nil && framer.WriteSettingsAck() == nil {
			more(framer)
		}
		unread(c)
	}
}

// What may be wrong with streams.

func failing(code codes.Code, text string) func(speaker) error {
	return func(speaker) error { return status.Error(code, text) }
}

// telling sends each message, and then waits for the fault's end.
func telling(messages ...any) func(speaker) error {
	return func(s speaker) error {
		for _, m := range messages {
			if err := s.SendMsg(m); err != nil {
				return err
			}
		}
		<-s.Context().Done()
		return status.Error(codes.Unavailable, "over")
	}
}

func mute(s speaker) error {
	<-s.Context().Done()
	return status.Error(codes.Unavailable, "over")
}

func headed(s speaker) error {
	if err := s.SendHeader(nil); err != nil {
		return err
	}
	return mute(s)
}

// flipping says each message in turn, without end.
func flipping(pause time.Duration, messages ...any) func(speaker) error {
	return func(s speaker) error {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for i := 0; s.Context().Err() == nil; i++ {
			if err := s.SendMsg(messages[i%len(messages)]); err != nil {
				return err
			}
			<-tick.C
		}
		return status.Error(codes.Unavailable, "over")
	}
}

// every has the same happen to all questions.
func every(do func(speaker) error) fault { return fault{get: do, profile: do, policy: do} }

func noEndpoints(exists bool) *destpb.Update {
	return &destpb.Update{Update: &destpb.Update_NoEndpoints{NoEndpoints: &destpb.NoEndpoints{Exists: exists}}}
}

func adding(addrs ...*destpb.WeightedAddr) *destpb.Update {
	return &destpb.Update{Update: &destpb.Update_Add{Add: &destpb.WeightedAddrSet{Addrs: addrs}}}
}

func removing(addrs ...*netpb.TcpAddress) *destpb.Update {
	return &destpb.Update{Update: &destpb.Update_Remove{Remove: &destpb.AddrSet{Addrs: addrs}}}
}

func weightedAddr(ip, port, weight uint32) *destpb.WeightedAddr {
	return &destpb.WeightedAddr{
		Addr:   &netpb.TcpAddress{Ip: &netpb.IPAddress{Ip: &netpb.IPAddress_Ipv4{Ipv4: ip}}, Port: port},
		Weight: weight,
	}
}

// absurd are updates of which nothing can be used.
func absurd() []any {
	identified := weightedAddr(0x7f000001, 9, 1)
	identified.TlsIdentity = &destpb.TlsIdentity{Strategy: &destpb.TlsIdentity_DnsLikeIdentity_{DnsLikeIdentity: &destpb.TlsIdentity_DnsLikeIdentity{}}}
	labelled := weightedAddr(0x7f000001, 0, 1)
	labelled.MetricLabels = map[string]string{"long": strings.Repeat("x", 1<<20)}
	for i := range 5000 {
		labelled.MetricLabels[fmt.Sprintf("label%d", i)] = "x"
	}
	return []any{
		&destpb.Update{},
		[]byte{0x7a, 1, 0}, // of no kind, and of a kind of the future
		&destpb.Update{Update: &destpb.Update_Add{Add: &destpb.WeightedAddrSet{Addrs: []*destpb.WeightedAddr{{}, nil}}}},
		adding(weightedAddr(0, 0, 0), weightedAddr(0x7f000001, 0, 1), weightedAddr(0x7f000001, 65536, math.MaxUint32), identified, labelled),
		removing(&netpb.TcpAddress{}, &netpb.TcpAddress{Port: 1 << 20}),
	}
}

// A trial is what a fault must lead to.
type trial struct {
	fault fault
	known []int // statuses that a destination which was known before may have
	fresh []int // that one which was not known may have
	cause string
	heavy bool          // it is work, which others would wait for
	slack time.Duration // what that work takes, with the race detector
}

// trials has all faults; one of them adds that many endpoints at once.
func trials(endpoint string, many uint32) map[string]trial {
	ok, none, unknown := []int{200}, []int{503}, []int{503, 504}
	at, err := net.ResolveTCPAddr("tcp", endpoint)
	if err != nil {
		panic(err)
	}
	self := weightedAddr(binary.BigEndian.Uint32(at.IP.To4()), uint32(at.Port), 1)
	huge := proto.Clone(adding(self)).(*destpb.Update)
	huge.GetAdd().MetricLabels = map[string]string{"long": strings.Repeat("x", 5<<20)}
	crowd := adding(self, proto.Clone(self).(*destpb.WeightedAddr))
	for i := range many {
		crowd.GetAdd().Addrs = append(crowd.GetAdd().Addrs, weightedAddr(0x7f010000+i, 1, 0))
	}
	labelled := proto.Clone(self).(*destpb.WeightedAddr)
	labelled.MetricLabels = map[string]string{"long": strings.Repeat("x", 1<<20)}
	for i := range 5000 {
		labelled.MetricLabels[fmt.Sprintf("label%d", i)] = "x"
	}
	silent := "no answer from the control plane"
	return map[string]trial{
		"closes":                  {fault{conn: func(net.Conn) {}}, ok, none, silent, false, 0},
		"resets":                  {fault{conn: func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }}, ok, none, silent, false, 0},
		"silent":                  {fault{conn: unread}, ok, none, silent, false, 0},
		"HTTP/1":                  {fault{conn: writing("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")}, ok, none, silent, false, 0},
		"random bytes":            {fault{conn: writing("\x00\xff\x17\x03\x03 of no protocol \x80\x00")}, ok, none, silent, false, 0},
		"silent after SETTINGS":   {fault{conn: greeted(func(*http2.Framer) {})}, ok, none, silent, false, 0},
		"GOAWAY":                  {fault{conn: greeted(func(f *http2.Framer) { _ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) })}, ok, none, silent, false, 0},
		"resets streams":          {fault{conn: greeted(func(f *http2.Framer) { _ = f.WriteRSTStream(1, http2.ErrCodeInternal) })}, ok, none, silent, false, 0},
		"never answers":           {every(mute), ok, none, silent, false, 0},
		"headers, then silence":   {every(headed), ok, none, silent, false, 0},
		"ends at once":            {every(func(speaker) error { return nil }), ok, none, silent, false, 0},
		"unavailable, at length":  {every(failing(codes.Unavailable, strings.Repeat("very ", 10_000)+"sorry")), ok, none, silent, false, 0},
		"beyond all length":       {every(failing(codes.Unavailable, strings.Repeat("very ", 1_000_000)+"sorry")), ok, none, silent, false, 0},
		"permission denied":       {every(failing(codes.PermissionDenied, "no")), ok, none, silent, false, 0},
		"invalid argument":        {every(failing(codes.InvalidArgument, "no")), ok, []int{500, 502, 503}, "no", false, 0},
		"failed precondition":     {every(failing(codes.FailedPrecondition, "no")), ok, []int{500, 502, 503}, "no", false, 0},
		"undecodable":             {every(telling([]byte("\xff\xff\xff garbage"))), ok, none, silent, false, 0},
		"too long":                {every(telling(huge)), ok, none, silent, false, 0},
		"unknown name":            {every(failing(codes.NotFound, "who?")), []int{200, 502, 503, 504}, []int{502, 503, 504}, "", false, 0},
		"Get is not known":        {fault{get: failing(codes.NotFound, "who?")}, unknown, unknown, "", false, 0},
		"Get is refused":          {fault{get: failing(codes.InvalidArgument, "no")}, ok, unknown, "", false, 0},
		"Get fails":               {fault{get: failing(codes.Internal, "no")}, ok, unknown, "", false, 0},
		"Get is silent":           {fault{get: mute}, ok, unknown, "", false, 0},
		"zero endpoints":          {fault{get: telling(noEndpoints(true))}, unknown, unknown, "", false, 0},
		"no such destination":     {fault{get: telling(noEndpoints(false))}, unknown, unknown, "", false, 0},
		"exists, and does not":    {fault{get: flipping(time.Millisecond, noEndpoints(true), noEndpoints(false))}, unknown, unknown, "", true, 0},
		"an empty set":            {fault{get: telling(adding())}, unknown, unknown, "", false, 0},
		"absurd endpoints":        {fault{get: telling(absurd()...)}, ok, unknown, "", false, 0},
		"removes first":           {fault{get: telling(removing(self.GetAddr()), removing(self.GetAddr()))}, ok, unknown, "", false, 0},
		"a profile for endpoints": {fault{get: telling(&destpb.DestinationProfile{FullyQualifiedName: webHost, OpaqueProtocol: true})}, ok, unknown, "", false, 0},
		"an endless list":         {fault{get: telling(crowd, removing(self.GetAddr()), adding(self), adding(self))}, []int{200, 502, 503, 504}, []int{200, 502, 503, 504}, "", true, time.Duration(many) * time.Millisecond},
		"labels without end":      {fault{get: telling(adding(labelled))}, ok, []int{200, 504}, "", true, 0},
		"adds and removes":        {fault{get: flipping(100*time.Microsecond, adding(self), adding(self), removing(self.GetAddr()))}, []int{200, 503, 504}, []int{200, 503, 504}, "", true, 0},
		"an absurd profile":       {fault{profile: telling(absurdProfile())}, []int{200, 404, 500, 502, 503, 504}, []int{200, 404, 500, 502, 503, 504}, "", false, 0},
		"an empty profile":        {fault{profile: telling(&destpb.DestinationProfile{})}, []int{200, 502, 503}, []int{502, 503}, "", false, 0},
		"an absurd policy":        {fault{policy: telling(absurdPolicy(math.MaxInt64))}, []int{500, 502, 503}, []int{500, 502, 503}, "", false, 0},
		"an empty policy":         {fault{policy: telling(&pb.OutboundPolicy{})}, []int{500}, []int{500}, "", false, 0},
		"policies refused":        {fault{policy: failing(codes.FailedPrecondition, "no")}, ok, []int{500, 502, 503}, "no", false, 0},
	}
}

// absurdProfile says what makes no sense, as much as there is room for.
func absurdProfile() *destpb.DestinationProfile {
	p := &destpb.DestinationProfile{
		FullyQualifiedName: webHost,
		RetryBudget:        &destpb.RetryBudget{RetryRatio: float32(math.NaN()), MinRetriesPerSecond: math.MaxUint32, Ttl: &durationpb.Duration{Seconds: math.MinInt64, Nanos: math.MinInt32}},
		DstOverrides: []*destpb.WeightedDst{
			{Authority: "", Weight: 1},
			{Authority: ":::", Weight: math.MaxUint32},
			{Authority: webHost + ":80", Weight: math.MaxUint32},
			{Authority: webHost + ":81", Weight: math.MaxUint32},
			nil,
		},
	}
	for _, re := range []string{"(", `\Qa`, "(?:a{1000}){1000}", strings.Repeat("(", 5000), ""} {
		p.Routes = append(p.Routes, &destpb.Route{
			Condition: &destpb.RequestMatch{Match: &destpb.RequestMatch_Path{Path: &destpb.PathMatch{Regex: re}}},
			Timeout:   &durationpb.Duration{Seconds: math.MaxInt64}, IsRetryable: true,
			ResponseClasses: []*destpb.ResponseClass{{Condition: &destpb.ResponseMatch{Match: &destpb.ResponseMatch_Status{Status: &destpb.HttpStatusRange{Min: 900, Max: 1}}}}, {}},
		}, &destpb.Route{Condition: &destpb.RequestMatch{}}, nil)
	}
	return p
}

// absurdPolicy has two backends that weigh too much together, and routes that
// lead nowhere.
func absurdPolicy(seconds int64) *pb.OutboundPolicy {
	backend := func(kind *pb.Backend) *pb.HttpRoute_WeightedRouteBackend {
		return &pb.HttpRoute_WeightedRouteBackend{Weight: math.MaxUint32, Backend: &pb.HttpRoute_RouteBackend{Backend: kind}}
	}
	rule := &pb.HttpRoute_Rule{
		Backends: &pb.HttpRoute_Distribution{Kind: &pb.HttpRoute_Distribution_RandomAvailable_{RandomAvailable: &pb.HttpRoute_Distribution_RandomAvailable{
			Backends: []*pb.HttpRoute_WeightedRouteBackend{
				backend(nil), backend(&pb.Backend{}), nil,
				backend(&pb.Backend{Kind: &pb.Backend_Balancer{Balancer: &pb.Backend_BalanceP2C{Load: &pb.Backend_BalanceP2C_PeakEwma_{
					PeakEwma: &pb.Backend_BalanceP2C_PeakEwma{DefaultRtt: &durationpb.Duration{Seconds: seconds}, Decay: &durationpb.Duration{Seconds: -seconds}},
				}}}}),
				backend(&pb.Backend{Kind: &pb.Backend_Forward{Forward: &destpb.WeightedAddr{}}}),
			},
		}}},
	}
	http1 := &pb.ProxyProtocol_Http1{Routes: []*pb.HttpRoute{{}, {Rules: []*pb.HttpRoute_Rule{rule, {}, nil}}, nil, {Rules: []*pb.HttpRoute_Rule{rule}}}}
	return &pb.OutboundPolicy{Protocol: &pb.ProxyProtocol{Kind: &pb.ProxyProtocol_Detect_{Detect: &pb.ProxyProtocol_Detect{
		Timeout: &durationpb.Duration{Seconds: seconds}, Http1: http1, Http2: &pb.ProxyProtocol_Http2{}, Opaque: &pb.ProxyProtocol_Opaque{},
	}}}}
}

// recovery is within what time of good data the next success must come.
const recovery = time.Second

// atOnce is how many faults are tried at the same time.
const atOnce = 10

// TestFaults has a control plane that fails in every way, under a sidecar that
// knows one destination and is asked for another. What each must be answered, the
// table says; then there must be an answer from the endpoint within a second of
// the control plane's being well. (docs/outages.md has the rule.)
func TestFaults(t *testing.T) { faults(t, 500) }

func faults(t *testing.T, many uint32) {
	t.Helper()
	endpoint := origin(t, func(http.ResponseWriter, *http.Request) {})
	var running sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for name, test := range trials(endpoint, many) {
		if test.heavy {
			continue
		}
		running.Go(func() { // and not in parallel, as many as there are processors: most of it is waiting
			places <- struct{}{}
			defer func() { <-places }()
			t.Run(name, func(t *testing.T) { try(t, test, startFaulty(t, endpoint)) })
		})
	}
	running.Wait()
	for name, test := range trials(endpoint, many) {
		if test.heavy {
			t.Run(name, func(t *testing.T) { try(t, test, startFaulty(t, endpoint)) })
		}
	}
}

func try(t *testing.T, test trial, f *faultyControl) {
	t.Helper()
	known, fresh, other := freeAddr(t), freeAddr(t), "other."+webHost
	startSidecar(t, f.Addr().String(), "LINKERD2_PROXY_OUTBOUND_HTTP_FAILFAST_TIMEOUT=1s",
		"OUTRIGGER_OUTBOUND_NAMED="+known+"="+webHost+":80,"+fresh+"="+other+":80")
	usual := recovers(t, known, asking) // on this machine, as busy as it is
	f.set(test.fault)
	began := time.Now()
	var asked sync.WaitGroup
	asked.Go(func() {
		if got, err := trySend(fresh, strings.ReplaceAll(asking, webHost, other)); err != nil || !slices.Contains(test.fresh, got.status) || !strings.Contains(got.cause(), test.cause) {
			t.Errorf("a destination that was not known: %v, %+v; want one of %v, and %q", err, got, test.fresh, test.cause)
		}
	})
	for time.Since(began) < 800*time.Millisecond {
		elapse(t, 50*time.Millisecond)
		if got, err := trySend(known, asking); err != nil || !slices.Contains(append(test.known, 200), got.status) {
			t.Errorf("a destination that was known: %v, %+v; want one of %v", err, got, test.known)
			break
		}
	}
	asked.Wait()
	took := time.Since(began)
	if took > 6*time.Second+10*usual {
		t.Errorf("it took %v to answer", took)
	}
	if n, most := f.opened.Load(), 4+int32(25*took.Seconds()); n > most {
		t.Errorf("%d connections in %v", n, took)
	}
	if n, most := f.asked.Load(), 20+int32(60*took.Seconds()); n > most {
		t.Errorf("%d streams in %v", n, took)
	}
	f.set(fault{})
	for addr, request := range map[string]string{known: asking, fresh: strings.ReplaceAll(asking, webHost, other)} {
		bar := recovery + 10*usual
		if test.heavy {
			bar += 2*recovery + test.slack // to be done with the work
		}
		if took := recovers(t, addr, request); took > bar {
			t.Errorf("well again only after %v, where %v is usual", took, usual)
		}
	}
}

// recovers asks until there is an answer from the endpoint, and returns how long
// that took.
func recovers(t *testing.T, addr, request string) time.Duration {
	t.Helper()
	for began := time.Now(); ; elapse(t, 10*time.Millisecond) {
		got, err := trySend(addr, request)
		if err == nil && got.status == 200 {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			t.Fatalf("never well: %v, %+v", err, got)
		}
	}
}

// hundred is a profile of 100 routes, as bytes.
func hundred(t *testing.T, path string) []byte {
	t.Helper()
	p := &destpb.DestinationProfile{FullyQualifiedName: webHost}
	for i := range 100 {
		p.Routes = append(p.Routes, &destpb.Route{
			MetricsLabels: map[string]string{"route": fmt.Sprint(i)},
			Condition:     &destpb.RequestMatch{Match: &destpb.RequestMatch_Path{Path: &destpb.PathMatch{Regex: fmt.Sprintf("/%s/%d/[a-z]+", path, i)}}},
		})
	}
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStorm has a control plane that says something else 10,000 times a second, of
// endpoints and of a profile with 100 routes, while requests pass.
func TestStorm(t *testing.T) { storm(t, time.Second) }

func storm(t *testing.T, lasts time.Duration) {
	t.Helper()
	endpoint := origin(t, func(http.ResponseWriter, *http.Request) {})
	self := oneEndpoint(endpoint, nil).GetAdd().GetAddrs()[0]
	heavier := proto.Clone(self).(*destpb.WeightedAddr)
	heavier.Weight = 2
	f := startFaulty(t, endpoint)
	addr := freeAddr(t)
	startSidecar(t, f.Addr().String(), "OUTRIGGER_OUTBOUND_NAMED="+addr+"="+webHost+":80")
	usual := recovers(t, addr, asking)
	const often = 100 * time.Microsecond
	f.set(fault{get: flipping(often, adding(self), adding(heavier)), profile: flipping(often, hundred(t, "a"), hundred(t, "b"))})
	before, heap := cpu(t), heapInUse()
	var took []time.Duration
	for began := time.Now(); time.Since(began) < lasts; elapse(t, 5*time.Millisecond) {
		sent := time.Now()
		if got := send(t, addr, asking); got.status != 200 {
			t.Fatalf("%+v in the storm", got)
		}
		took = append(took, time.Since(sent))
	}
	slices.Sort(took)
	t.Logf("of %d requests the median took %v, p99 %v; %v of CPU in %v, the control plane's with it; %d KiB of heap more",
		len(took), took[len(took)/2], took[len(took)*99/100], cpu(t)-before, lasts, int64(heapInUse()-heap)>>10)
	if grown := int64(heapInUse() - heap); grown > 64<<20 {
		t.Errorf("%d bytes more are held", grown)
	}
	f.set(fault{})
	if took := recovers(t, addr, asking); took > recovery+10*usual {
		t.Errorf("well again only after %v", took)
	}
}

// heapInUse is what the heap holds.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// cpu is what this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
