package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/outrigger-mesh/outrigger/control"
	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/guard"
	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/admin"
	"github.com/outrigger-mesh/outrigger/proxy/l4"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
	"github.com/outrigger-mesh/outrigger/tls"
)

// Options are what a sidecar is run with beside its Config.
type Options struct {
	Log    *slog.Logger
	Filter *telemetry.Filter // of the log; nil if there is none
	Build  telemetry.Build
	Ready  func() // called once every listener is open; may be nil
	// LastWords, if not nil, is given what logs what is lost if the process ends at
	// once, for a reason such as "SIGTERM".
	LastWords func(say func(why string))
}

// Run serves as c says until ctx is done, and then drains: it goes on accepting
// for c.Drain.LameDuck, closes its listeners, inbound's first, and waits for what
// is in hand, for c.Drain.Grace at most. It returns an error if it could not
// start, or could not go on.
func Run(ctx context.Context, c Config, o Options) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	life, end := context.WithCancel(context.WithoutCancel(ctx)) // goes on while connections are drained
	defer end()
	p, err := open(life, c, o)
	if err != nil {
		return err
	}
	defer func() {
		end()
		p.closeControl()
		p.keepers.Wait()
	}()
	out, in := p.outbound(), p.inbound()
	s, err := p.listen(ctx, in, out)
	if err != nil {
		return err
	}
	if err := p.bound(in.inFlight, out.inFlight); err != nil {
		s.close()
		return err
	}
	adminDone, err := p.admin(life, o, func() { stop(Asked("POST /shutdown")) })
	if err != nil {
		s.close()
		return err
	}
	if !p.awaitIdentity(ctx) {
		s.close()
		end()
		return <-adminDone
	}
	var watching sync.WaitGroup
	watching.Go(func() { p.overload.watch(life) })
	p.Log.Info("ready", "inbound", addrs(s.inbound), "outbound", addrs(s.outbound), "admin", c.Admin.Listen,
		"destination", c.Control.Destination.Addr, "policy", c.Control.Policy.Addr, "unmeshed", c.Unmeshed)
	if o.Ready != nil {
		o.Ready()
	}
	err = s.serve(ctx)
	p.closeTee()
	in.close()
	out.close() // before the control plane's clients end, which whoever watches by them would take for its word
	end()
	watching.Wait()
	return errors.Join(err, <-adminDone)
}

// open makes a Proxy whose control clients live as long as ctx.
func open(ctx context.Context, c Config, o Options) (*Proxy, error) {
	p := &Proxy{Config: c, Log: o.Log.With("target", "outrigger"), lastWords: o.LastWords}
	p.guard = &guard.Guard{Log: p.Log, Count: func(stage string) { p.Metrics.Panic(stage) }}
	p.scheduler.Workers.Guard = p.guard
	p.memory = findMemory(p.Log)
	p.Metrics = telemetry.New(telemetry.Options{Guard: p.guard, RetainIdle: c.Metrics.RetainIdle, MaxSeries: c.Metrics.MaxSeries, Build: o.Build, Cause: causeOf})
	p.Tee = p.newTee(&c.Tee)
	err := p.certify(ctx)
	if err != nil {
		return nil, err
	}
	if p.Destination, err = p.dialControl(ctx, "destination", c.Control.Destination); err != nil {
		return nil, err
	}
	if p.Policy, err = p.dialControl(ctx, "policy", c.Control.Policy); err != nil {
		p.closeControl()
		return nil, err
	}
	p.Resolver = discover.Remembering(discover.New(discover.Config{
		Client:       p.Destination,
		Context:      c.Control.Context,
		Local:        c.LocalIPs,
		MaxEndpoints: c.Balance.MaxEndpoints,
		Settle:       c.Balance.Settle,
		Log:          p.Log,
		Guard:        p.guard,
		Backoff:      c.Control.Destination.Connect.Backoff,
	}), c.Control.Remembered)
	p.Profiles = profiles.NewDaemon(profiles.Config{
		Destination: p.Destination,
		Policy:      p.Policy,
		Context:     c.Control.Context,
		Workload:    c.Control.Workload,
		Suffixes:    c.Control.ProfileSuffixes,
		Networks:    c.Control.ProfileNetworks,
		Local:       c.LocalIPs,
		Settle:      c.Balance.Settle,
		Limits:      profiles.Limits{Pattern: c.Control.MaxPattern, Parts: c.Control.MaxParts},
		Remember:    c.Control.Remembered,
		Log:         p.Log,
		Guard:       p.guard,
		Backoff:     c.Control.Destination.Connect.Backoff,
	})
	return p, nil
}

func (p *Proxy) dialControl(ctx context.Context, name string, s ControlService) (*control.Client, error) {
	return control.Dial(ctx, p.controlConfig(name, s))
}

// controlConfig says how a service of the control plane is reached: on loopback in
// clear text, as by linkerd2-proxy.
func (p *Proxy) controlConfig(name string, s ControlService) control.Config {
	c := &p.Config
	conf := control.Config{
		Name:      name,
		Addr:      s.Addr,
		Plaintext: c.Unmeshed || s.Addr.Loopback(),
		Connect:   s.Connect.Timeout,
		FailFast:  c.Control.FailFast,
		Backoff:   s.Connect.Backoff.Within(c.Control.MaxPause),
		Limits:    c.Control.Limits,
		Windows:   control.Windows{Stream: c.HTTP2.StreamWindow, Connection: c.HTTP2.ConnWindow},
		TCP:       control.TCP{KeepAlive: s.Connect.Keepalive, UserTimeout: s.Connect.UserTimeout},
		DNS:       &control.Resolver{MinTTL: c.Control.DNSMinTTL, MaxTTL: c.Control.DNSMaxTTL},
		Log:       p.Log,
		Guard:     p.guard,
	}
	if !conf.Plaintext {
		conf.TLS = &control.TLS{Store: p.Identity, Server: tls.ID(s.Name)}
	}
	return conf
}

func (p *Proxy) closeControl() {
	for _, c := range []*control.Client{p.Destination, p.Policy} {
		if c != nil {
			_ = c.Close()
		}
	}
}

// admin serves the operator's port until ctx is done. The channel then gives how
// that ended.
func (p *Proxy) admin(ctx context.Context, o Options, shutdown func()) (<-chan error, error) {
	a := &p.Config.Admin
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", a.Listen.String())
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if !a.ShutdownEndpoint {
		shutdown = nil
	}
	h := admin.Handler(admin.Options{
		Ready:       p.ready,
		Live:        p.guard.Live,
		Guard:       p.guard,
		Metrics:     p.Metrics.Handler(a.Scrapes),
		Shutdown:    shutdown,
		Filter:      o.Filter,
		FilterBytes: int64(a.FilterBytes),
		Log:         p.Log,
	})
	limits := admin.Limits{
		HeadRead: a.HeadTime, Read: a.ReadTime, Write: a.WriteTime, Idle: a.IdleTimeout,
		Grace: a.Grace, HeadBytes: a.HeadBytes,
		Conns: min(a.MaxConns, max(p.overload.descriptors.Kept()/2, 1)), // of what is kept: the control plane and DNS have the rest
	}
	done := make(chan error, 1)
	go func() {
		var err error
		if lost := p.guard.Do("admin", func() { err = admin.Serve(ctx, l, h, limits, p.Log) }); lost != nil {
			err = lost
		}
		done <- err
	}()
	return done, nil
}

// A listening is one listener and what its connections are served by.
type listening struct {
	net.Listener
	handler stack.Handler
}

func addrs(ls []listening) []string {
	var s []string
	for _, l := range ls {
		s = append(s, l.Addr().String())
	}
	return s
}

// A session is all that a proxy listens on.
type session struct {
	*Proxy
	inbound, outbound []listening
}

// listen opens every listener, or none.
func (p *Proxy) listen(ctx context.Context, in *inbound, out *outbound) (*session, error) {
	s := &session{Proxy: p}
	err := s.open(ctx, &s.inbound, "inbound", &p.Config.Inbound, in.redirected, in.named)
	if err == nil {
		err = s.open(ctx, &s.outbound, "outbound", &p.Config.Outbound, out.redirected, out.named)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) open(ctx context.Context, to *[]listening, what string, d *Direction, redirected func() stack.Handler, named func(profiles.Target) stack.Handler) error {
	one := func(addr netip.AddrPort, h stack.Handler) error {
		l, err := l4.Listen(ctx, addr, l4.ListenConfig{Backlog: d.Backlog, Keepalive: d.Accept.Keepalive, UserTimeout: d.Accept.UserTimeout})
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		*to = append(*to, listening{l, h})
		return nil
	}
	for _, addr := range d.Listen {
		if err := one(addr, redirected()); err != nil {
			return err
		}
	}
	for _, n := range d.Named {
		if err := one(n.Listen, named(n.Target)); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) close() {
	for _, l := range append(s.inbound, s.outbound...) {
		_ = l.Close()
	}
}

// serve serves every listener until ctx is done and what is in hand is over.
// Outbound goes on until inbound has ended, so that an application that is
// stopping too can finish what it was asked.
func (s *session) serve(ctx context.Context) error {
	d := newDrain(ctx, s.Proxy)
	var in, out sync.WaitGroup
	var failed errorList
	s.serveAll(d.inbound.accepting, &in, s.inbound, &d.inbound.conns, d.cut, failed.add)
	s.serveAll(d.outbound.accepting, &out, s.outbound, &d.outbound.conns, d.cut, failed.add)
	if s.lastWords != nil {
		s.lastWords(d.abandoned)
	}
	d.running.Go(func() { d.run(ctx) })
	if len(s.inbound) == 0 {
		<-d.inbound.accepting.Done()
	}
	in.Wait()
	d.close(&d.outbound)
	out.Wait()
	d.end()
	return failed.join()
}

func (s *session) serveAll(ctx context.Context, wg *sync.WaitGroup, ls []listening, conns *l4.Conns, cut <-chan struct{}, failed func(error)) {
	for _, l := range ls {
		wg.Go(func() {
			err := l4.Serve(ctx, l.Listener, l.handler, l4.ServeConfig{
				Log:   s.Log,
				Guard: s.guard,
				Cut:   cut,
				Conns: conns,
				Gate:  s.overload.gate,
			})
			if err != nil && ctx.Err() == nil {
				failed(fmt.Errorf("listener %s: %w", l.Addr(), err))
			}
		})
	}
}

// An errorList gathers the errors of several goroutines.
type errorList struct {
	mu   sync.Mutex
	list []error
}

func (e *errorList) add(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, err)
}

func (e *errorList) join() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return errors.Join(e.list...)
}
