package profiles

import (
	"context"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	destpb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"

	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/guard"
)

// A Config says how a Daemon asks.
type Config struct {
	Destination *control.Client // of the destination service, for GetProfile
	Policy      *control.Client // of the policy service, for OutboundPolicies
	Context     string          // the token for the destination service (LINKERD2_PROXY_DESTINATION_CONTEXT)
	Workload    string          // who asks, for the policy service (LINKERD2_PROXY_POLICY_WORKLOAD)

	// Suffixes and Networks say which names and addresses may have a profile
	// (LINKERD2_PROXY_DESTINATION_PROFILE_SUFFIXES and _NETWORKS). The suffix "."
	// allows all names. Policies are asked for without regard to them.
	Suffixes []string
	Networks []netip.Prefix

	// Local are this pod's own addresses (LINKERD2_PROXY_INBOUND_IPS), reached in
	// the clear.
	Local []netip.Addr

	// Settle is the least time between two profiles, or two policies, of a target
	// that are looked at. Of those that come faster the last counts.
	Settle time.Duration

	Limits   Limits
	Remember int          // targets whose last profile is kept after they are dropped
	Log      *slog.Logger // nil means none

	// A panic while an answer is read costs that answer: the question is asked again
	// after a pause of Backoff, and the last profile stands. Guard is told; it may be
	// nil.
	Guard   *guard.Guard
	Backoff control.Backoff
}

// A Daemon is the Watcher that asks the control plane, about a target's profile
// and about its policy at once.
type Daemon struct {
	config   Config
	memory   *discover.Memory[Target, *Profile]
	profiles func(context.Context, Target) iter.Seq2[control.Message[*destpb.DestinationProfile], error]
	policies func(context.Context, Target) iter.Seq2[control.Message[*pb.OutboundPolicy], error]
}

// NewDaemon returns a Daemon that asks as c says. It does nothing until Watch.
func NewDaemon(c Config) *Daemon {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{config: c, memory: discover.NewMemory[Target, *Profile](c.Remember)}
	d.profiles, d.policies = d.getProfile, d.watchPolicy
	return d
}

func (d *Daemon) getProfile(ctx context.Context, t Target) iter.Seq2[control.Message[*destpb.DestinationProfile], error] {
	api := destpb.NewDestinationClient(d.config.Destination)
	ask := &destpb.GetDestination{Path: t.String(), ContextToken: d.config.Context}
	return control.Watch(ctx, d.config.Destination, "profile of "+t.String(),
		func(ctx context.Context) (interface {
			Recv() (*destpb.DestinationProfile, error)
		}, error,
		) {
			s, err := api.GetProfile(ctx, ask, control.Undecoded())
			return control.Latest[destpb.DestinationProfile](s, err, d.config.Settle)
		})
}

func (d *Daemon) watchPolicy(ctx context.Context, t Target) iter.Seq2[control.Message[*pb.OutboundPolicy], error] {
	api := pb.NewOutboundPoliciesClient(d.config.Policy)
	ask := &pb.TrafficSpec{SourceWorkload: d.config.Workload, Target: &pb.TrafficSpec_Authority{Authority: t.String()}}
	if t.Name == "" {
		ask.Target = &pb.TrafficSpec_Addr{Addr: discover.ToTCPAddress(t.Addr)}
	}
	return control.Watch(ctx, d.config.Policy, "policy of "+t.String(),
		func(ctx context.Context) (interface {
			Recv() (*pb.OutboundPolicy, error)
		}, error,
		) {
			s, err := api.Watch(ctx, ask, control.Undecoded())
			return control.Latest[pb.OutboundPolicy](s, err, d.config.Settle)
		})
}

// Profiled reports whether t may have a profile. One that may not is reached at
// its original address when the control plane is silent.
func (d *Daemon) Profiled(t Target) bool {
	if t.Name == "" {
		addr := t.Addr.Addr().Unmap()
		return slices.ContainsFunc(d.config.Networks, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	return slices.ContainsFunc(d.config.Suffixes, func(s string) bool { return under(t.Name, s) })
}

// under reports whether name is suffix or ends with all of its labels.
func under(name, suffix string) bool {
	if suffix == "." {
		return true
	}
	suffix = strings.ToLower(strings.Trim(suffix, "."))
	if suffix == "" {
		return false
	}
	return name == suffix || strings.HasSuffix(name, "."+suffix)
}

// Watch streams the profile of t. The first value comes at once if t was watched
// before and is remembered, marked stale; otherwise when the control plane has
// answered both questions, which may be never. From then on each change of
// either answer yields a profile.
//
// While the first answer is that the name is unknown, the stream yields a nil
// Profile and an error that wraps ErrUnknownName, and goes on if its reader does.
// A name that becomes unknown later gets a profile that refuses everything.
func (d *Daemon) Watch(ctx context.Context, t Target) Stream {
	return func(yield func(*Profile, error) bool) {
		w := watch{daemon: d, target: t, log: d.config.Log.With("destination", t.String()), yield: yield}
		if last, ok := d.memory.Recall(t); ok {
			stale := *last
			stale.Stale = true
			if w.last = &stale; !yield(w.last, nil) {
				return
			}
		}
		ctx, cancel := context.WithCancel(ctx)
		a := newAnswers()
		var readers sync.WaitGroup
		known := w.last != nil
		readers.Go(func() {
			a.fail(d.keep(ctx, "profile reader", func() error { return d.readProfile(ctx, t, known && w.last.Name != "", a) }))
		})
		readers.Go(func() {
			a.fail(d.keep(ctx, "policy reader", func() error { return d.readPolicy(ctx, t, known, a) }))
		})
		defer readers.Wait()
		defer cancel()
		w.serve(ctx, a)
	}
}

// keep reads, and begins anew after a panic.
func (d *Daemon) keep(ctx context.Context, stage string, read func() error) error {
	return d.config.Guard.Keep(ctx, stage, d.config.Backoff.Start().Wait, read)
}

func (d *Daemon) decoder() *decoder {
	return &decoder{limits: d.config.Limits, local: d.config.Local}
}

// readProfile puts what the control plane says of t's profile into a. Without a
// profile much can be served, so that a refusal is only the absence of one. It is
// final if it comes first: there are names that never have a profile. Of a target
// that had one it says nothing: that stands, and is asked for again.
func (d *Daemon) readProfile(ctx context.Context, t Target, known bool, a *answers) error {
	if !d.Profiled(t) {
		a.setProfile(nil)
		return nil
	}
	for m, err := range d.profiles(ctx, t) {
		switch {
		case err == nil:
			guard.Point("profile received")
			a.setProfile(d.decoder().decodeProfile(m.M, t.port()))
			known = true
		case control.Refused(err) && !known:
			a.setProfile(nil)
			return nil
		case control.Refused(err):
			d.stands(t, err)
		default:
			a.setProfile(nil)
		}
	}
	return ended(ctx)
}

func (d *Daemon) stands(t Target, refused error) {
	d.config.Log.Debug("the control plane refuses what it answered before, which stands", "destination", t.String(), "error", refused)
}

// readPolicy puts what the control plane says of t's policy into a. A refusal
// says nothing of a target that had a policy: that stands, and is asked for again.
func (d *Daemon) readPolicy(ctx context.Context, t Target, known bool, a *answers) error {
	for m, err := range d.policies(ctx, t) {
		switch {
		case err == nil:
			guard.Point("policy received")
			a.setPolicy(d.decoder().decodePolicy(m.M))
			known = true
		case control.Unknown(err):
			a.setPolicy(nil)
			known = true
		case known:
			d.stands(t, err)
		default:
			return err
		}
	}
	return ended(ctx)
}
