package profiles

import (
	"context"
	"errors"
	"iter"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	destpb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/discover"
)

// An event is what the control plane says after a while.
type event[M any] struct {
	after time.Duration
	m     M
	err   error
}

type (
	profileEvents []event[*destpb.DestinationProfile]
	policyEvents  []event[*pb.OutboundPolicy]
)

const s = time.Second

// play says events, and then nothing more.
func play[M any](ctx context.Context, events []event[M]) iter.Seq2[control.Message[M], error] {
	return func(yield func(control.Message[M], error) bool) {
		for _, e := range events {
			select {
			case <-time.After(e.after):
			case <-ctx.Done():
				return
			}
			if !yield(control.Message[M]{M: e.m}, e.err) {
				return
			}
		}
		<-ctx.Done()
	}
}

// scripted returns a Daemon to which the control plane says those things.
func scripted(profile profileEvents, policy policyEvents) *Daemon {
	d := NewDaemon(Config{
		Suffixes: []string{"svc.cluster.local."},
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Limits:   testLimits(), Remember: 4, Log: discard(),
	})
	d.say(profile, policy)
	return d
}

func (d *Daemon) say(profile profileEvents, policy policyEvents) {
	d.profiles = func(ctx context.Context, _ Target) iter.Seq2[control.Message[*destpb.DestinationProfile], error] {
		return play(ctx, profile)
	}
	d.policies = func(ctx context.Context, _ Target) iter.Seq2[control.Message[*pb.OutboundPolicy], error] {
		return play(ctx, policy)
	}
}

// collect watches t for an hour. It says of each value when it came, and what
// routed whither.
func collect(t *testing.T, d *Daemon, target Target) (got []string, last error) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for p, err := range d.Watch(ctx, target) {
		at := time.Since(began).String() + " "
		switch {
		case errors.Is(err, ErrUnknownName):
			got = append(got, at+"unknown")
		case err != nil:
			return got, err
		case p.Stale:
			got = append(got, at+"stale "+p.Source.String()+" "+whither(p.HTTP1))
		default:
			got = append(got, at+p.Source.String()+" "+whither(p.HTTP1))
		}
	}
	return got, nil
}

func TestWatch(t *testing.T) {
	policy := examples(t)["outbound-service-default"]
	named := &destpb.DestinationProfile{FullyQualifiedName: webName}
	split := &destpb.DestinationProfile{FullyQualifiedName: webName, DstOverrides: []*destpb.WeightedDst{override("v1:80", 1)}}
	endpoint := &destpb.DestinationProfile{Endpoint: address(0x0a000005, 8080)}
	notFound := status.Error(codes.NotFound, "none")
	unimplemented := status.Error(codes.Unimplemented, "none")
	invalid := status.Error(codes.InvalidArgument, "no")
	const apex = webName + ":80"
	outside := Target{Addr: netip.MustParseAddrPort("192.0.2.7:443")}
	foreign := Target{Name: "example.com", Port: 80}

	for name, tc := range map[string]struct {
		target  Target
		profile profileEvents
		policy  policyEvents
		want    []string
		err     error
	}{
		"silence": {byAddr, nil, nil, nil, context.DeadlineExceeded},
		"it waits for both answers": {
			byAddr,
			profileEvents{{s, named, nil}},
			policyEvents{{2 * s, policy, nil}},
			[]string{"2s policy " + apex},
			context.DeadlineExceeded,
		},
		"half an answer is none": {byAddr, profileEvents{{s, named, nil}}, nil, nil, context.DeadlineExceeded},
		"which of both routes is decided anew": {
			byAddr,
			profileEvents{{s, named, nil}, {2 * s, split, nil}, {2 * s, split, nil}, {2 * s, named, nil}},
			policyEvents{{s, policy, nil}},
			[]string{"1s policy " + apex, "3s profile v1:80", "7s policy " + apex},
			context.DeadlineExceeded,
		},
		"a policy that goes and comes": {
			byAddr,
			profileEvents{{s, endpoint, nil}},
			policyEvents{{s, nil, notFound}, {s, nil, notFound}, {s, policy, nil}, {s, nil, unimplemented}},
			[]string{"1s endpoint 10.0.0.5:8080", "3s policy " + apex, "4s endpoint 10.0.0.5:8080"},
			context.DeadlineExceeded,
		},
		"no profile": {
			byAddr,
			profileEvents{{s, nil, invalid}},
			policyEvents{{s, nil, notFound}},
			[]string{"1s fallback 10.96.0.10:80"},
			context.DeadlineExceeded,
		},
		"a profile that is not there yet": {
			byAddr,
			profileEvents{{s, nil, notFound}, {s, split, nil}},
			policyEvents{{s, policy, nil}},
			[]string{"1s policy " + apex, "2s profile v1:80"},
			context.DeadlineExceeded,
		},
		"the policy is refused": {byAddr, profileEvents{{s, named, nil}}, policyEvents{{s, nil, invalid}}, nil, invalid},
		"refused later": {
			byAddr,
			profileEvents{{s, named, nil}},
			policyEvents{{s, policy, nil}, {s, nil, invalid}, {s, nil, notFound}},
			[]string{"1s policy " + apex, "3s fallback 10.96.0.10:80"},
			context.DeadlineExceeded,
		},
		"a profile refused later stands, and may be another": {
			byAddr,
			profileEvents{{s, split, nil}, {s, nil, invalid}, {s, &destpb.DestinationProfile{}, nil}},
			policyEvents{{s, policy, nil}},
			[]string{"1s profile v1:80", "3s policy " + apex},
			context.DeadlineExceeded,
		},
		"outside the networks no profile is asked for": {
			outside,
			profileEvents{{s, split, nil}},
			policyEvents{{s, nil, notFound}},
			[]string{"1s fallback 192.0.2.7:443"},
			context.DeadlineExceeded,
		},
		"nor under another suffix": {
			foreign,
			profileEvents{{s, split, nil}},
			policyEvents{{s, policy, nil}},
			[]string{"1s policy " + apex},
			context.DeadlineExceeded,
		},
		"a name that is unknown, and then known": {
			byName,
			profileEvents{{s, nil, invalid}},
			policyEvents{{s, nil, notFound}, {s, nil, notFound}, {s, policy, nil}},
			[]string{"1s unknown", "3s policy " + apex},
			context.DeadlineExceeded,
		},
		"a name that is known no more": {
			byName,
			profileEvents{{s, named, nil}, {s, nil, notFound}},
			policyEvents{{s, nil, notFound}, {3 * s, policy, nil}},
			[]string{"1s profile " + apex, "2s fallback refused", "4s policy " + apex},
			context.DeadlineExceeded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, err := collect(t, scripted(tc.profile, tc.policy), tc.target)
				if !slices.Equal(got, tc.want) || !errors.Is(err, tc.err) {
					t.Errorf("got  %q, %v\nwant %q, %v", got, err, tc.want, tc.err)
				}
			})
		})
	}
}

// What is watched again after it was dropped is served as it was, until the
// control plane speaks.
func TestWatchRemembers(t *testing.T) {
	policy := examples(t)["outbound-service-default"]
	none := &destpb.DestinationProfile{}
	notFound := status.Error(codes.NotFound, "none")
	invalid := status.Error(codes.InvalidArgument, "no")
	const apex = webName + ":80"
	known := policyEvents{{s, policy, nil}}
	for name, tc := range map[string]struct {
		target        Target
		first, second policyEvents
		want          []string
	}{
		"silence":          {byAddr, known, nil, []string{"0s stale policy " + apex}},
		"the same again":   {byAddr, known, known, []string{"0s stale policy " + apex, "1s policy " + apex}},
		"something new":    {byAddr, known, policyEvents{{2 * s, nil, notFound}}, []string{"0s stale policy " + apex, "2s fallback 10.96.0.10:80"}},
		"nothing known":    {byAddr, nil, nil, nil},
		"refused at last":  {byAddr, policyEvents{{s, policy, nil}, {s, nil, invalid}}, nil, []string{"0s stale policy " + apex}},
		"refused meantime": {byAddr, known, policyEvents{{s, nil, invalid}, {s, nil, notFound}}, []string{"0s stale policy " + apex, "2s fallback 10.96.0.10:80"}},
		"unknown at last":  {byName, policyEvents{{s, policy, nil}, {s, nil, notFound}}, nil, nil},
		"unknown meantime": {byName, known, policyEvents{{s, nil, notFound}}, []string{"0s stale policy " + apex, "1s fallback refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := scripted(profileEvents{{s, none, nil}}, tc.first)
				collect(t, d, tc.target)
				d.say(profileEvents{{s, none, nil}}, tc.second)
				if got, _ := collect(t, d, tc.target); !slices.Equal(got, tc.want) {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			})
		})
	}
}

func TestWatchStopsWhenItsReaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted(profileEvents{{s, &destpb.DestinationProfile{}, nil}}, policyEvents{{s, &pb.OutboundPolicy{}, nil}})
		for range 2 { // the second time at the stale value
			for range d.Watch(t.Context(), byAddr) {
				break
			}
		}
		// synctest fails if a goroutine is left.
	})
}

func TestProfiled(t *testing.T) {
	for _, tc := range []struct {
		suffixes, networks string
		target             string
		want               bool
	}{
		{"svc.cluster.local.", "", "web.ns.svc.cluster.local", true},
		{"SVC.cluster.local", "", "web.ns.svc.cluster.local", true},
		{"svc.cluster.local.", "", "svc.cluster.local", true},
		{"svc.cluster.local.", "", "evilsvc.cluster.local", false},
		{"svc.cluster.local.", "", "web.ns.svc.cluster.local.evil", false},
		{".", "", "anything", true},
		{"", "", "web.ns.svc.cluster.local", false},
		{"a. b.", "", "x.b", true},
		{"", "10.0.0.0/8 fd00::/8", "10.1.2.3", true},
		{"", "10.0.0.0/8 fd00::/8", "::ffff:10.1.2.3", true},
		{"", "10.0.0.0/8 fd00::/8", "fd00::1", true},
		{"", "10.0.0.0/8 fd00::/8", "192.0.2.1", false},
		{"", "", "10.1.2.3", false},
		{".", "", "10.1.2.3", false},
	} {
		d := NewDaemon(Config{Suffixes: strings.Fields(tc.suffixes)})
		for _, n := range strings.Fields(tc.networks) {
			d.config.Networks = append(d.config.Networks, netip.MustParsePrefix(n))
		}
		target := Target{Name: tc.target, Port: 80}
		if ip, err := netip.ParseAddr(tc.target); err == nil {
			target = Target{Addr: netip.AddrPortFrom(ip, 80)}
		}
		if got := d.Profiled(target); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

func TestTargetString(t *testing.T) {
	for want, target := range map[string]Target{
		"10.0.0.1:80":   {Addr: netip.MustParseAddrPort("10.0.0.1:80")},
		"[::1]:80":      {Addr: netip.MustParseAddrPort("[::1]:80")},
		"web.ns.svc:80": {Name: "web.ns.svc", Port: 80},
	} {
		if got := target.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A plane answers over real connections. Its two services both have a Get, which
// nobody here asks.
type plane struct {
	destinations
	policyService
}

type destinations struct {
	destpb.UnimplementedDestinationServer
	profiles chan *destpb.GetDestination
}

type policyService struct {
	pb.UnimplementedOutboundPoliciesServer
	policies chan *pb.TrafficSpec
	policy   *pb.OutboundPolicy
}

func (p *destinations) GetProfile(ask *destpb.GetDestination, s grpc.ServerStreamingServer[destpb.DestinationProfile]) error {
	p.profiles <- ask
	if err := s.Send(&destpb.DestinationProfile{FullyQualifiedName: webName}); err != nil {
		return err
	}
	<-s.Context().Done()
	return nil
}

func (p *policyService) Watch(ask *pb.TrafficSpec, s grpc.ServerStreamingServer[pb.OutboundPolicy]) error {
	p.policies <- ask
	if ask.GetAuthority() != "" {
		return status.Error(codes.NotFound, "no such name")
	}
	if err := s.Send(p.policy); err != nil {
		return err
	}
	<-s.Context().Done()
	return nil
}

func TestWatchOverGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var p plane
	p.profiles, p.policies, p.policy = make(chan *destpb.GetDestination, 9), make(chan *pb.TrafficSpec, 9), examples(t)["outbound-service-default"]
	g := grpc.NewServer()
	destpb.RegisterDestinationServer(g, &p.destinations)
	pb.RegisterOutboundPoliciesServer(g, &p.policyService)
	served := make(chan struct{})
	go func() { defer close(served); g.Serve(l) }()
	defer func() { g.Stop(); <-served }()

	addr, err := control.ParseAddr(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err := control.Dial(t.Context(), control.Config{
		Name: "all", Addr: addr, Connect: time.Second, Log: discard(),
		Backoff: control.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	d := NewDaemon(Config{
		Destination: client, Policy: client, Context: "token", Workload: "me",
		Suffixes: []string{"."}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Limits: testLimits(), Log: discard(),
	})

	for target, source := range map[Target]Source{byAddr: FromPolicy, byName: FromProfile} {
		for profile, err := range d.Watch(t.Context(), target) {
			if err != nil || profile.Source != source || profile.Name != webName+":80" {
				t.Errorf("%s: got %+v, %v", target, profile, err)
			}
			break
		}
		if ask := <-p.profiles; ask.GetPath() != target.String() || ask.GetContextToken() != "token" {
			t.Errorf("asked %v", ask)
		}
		ask := <-p.policies
		asked := ask.GetAuthority()
		if asked == "" {
			at, _ := discover.FromTCPAddress(ask.GetAddr())
			asked = at.String()
		}
		if asked != target.String() || ask.GetSourceWorkload() != "me" {
			t.Errorf("asked %v", ask)
		}
	}
}
