package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A Resolver finds the replicas of a control-plane service by its DNS name: by
// SRV records, or by A and AAAA records if there are none that can be used. It
// asks the servers directly and keeps no cache, so that a refresh is one.
//
// The zero Resolver is ready: it asks as /etc/resolv.conf says, which it reads
// anew each time. A Resolver may be used by several Clients.
type Resolver struct {
	Path    string   // of resolv.conf; "" means /etc/resolv.conf
	Servers []string // "ip:port"; if given, they are asked instead of those in the file
	// MinTTL and MaxTTL bound the time to live of answers, LINKERD2_PROXY_DNS_MIN_TTL
	// and _MAX_TTL. Zero means no bound, but that no answer holds for over an hour.
	MinTTL, MaxTTL time.Duration
	// Floor is the shortest time between two lookups, whatever the TTL says, while
	// a replica can be reached or nobody asks for one. Zero means the reference's 5 s.
	Floor time.Duration
}

const (
	defaultPath  = "/etc/resolv.conf"
	defaultFloor = 5 * time.Second
	// ceiling is the longest time between two lookups, whatever the TTL says: one of
	// 68 years is a mistake that would keep us from a replica that is added.
	ceiling = time.Hour
)

// maxReplicas bounds what one answer may make us connect to. A message of 64 KiB
// has room for thousands of addresses.
const maxReplicas = 128

// found is what a lookup said.
type found struct {
	replicas []netip.AddrPort // sorted, none twice
	refresh  time.Duration    // until the next lookup
}

// A noRecords error means that the servers answered, and that the answer was no.
// The answer may say how long that holds.
type noRecords struct {
	name string
	kind uint16
	ttl  time.Duration
	held bool // whether ttl was given
}

func (e *noRecords) Error() string {
	return fmt.Sprintf("no %s records for %q", dns.TypeToString[e.kind], e.name)
}

// lookup finds a's replicas. Only if both kinds of lookup fail does it return an
// error, with both causes. Each outcome is told to seen: "SRV" or "A/AAAA".
func (r *Resolver) lookup(ctx context.Context, a Addr, seen func(record string, ok bool)) (found, error) {
	conf, err := r.conf()
	if err != nil {
		return found{}, err
	}
	q := query{conf: conf, names: candidates(conf, a.Host)}
	replicas, ttl, srvErr := q.services(ctx)
	seen("SRV", srvErr == nil)
	if srvErr != nil {
		replicas, ttl, err = q.hosts(ctx, a.Port)
		seen("A/AAAA", err == nil)
		if err != nil {
			return found{}, errors.Join(srvErr, err)
		}
	}
	return found{replicas: bounded(replicas), refresh: r.refresh(ttl)}, nil
}

// refresh returns how long an answer with ttl is believed.
func (r *Resolver) refresh(ttl time.Duration) time.Duration {
	ttl = max(ttl, r.MinTTL)
	if r.MaxTTL > 0 {
		ttl = min(ttl, r.MaxTTL)
	}
	return max(min(ttl, ceiling), r.floor())
}

func (r *Resolver) floor() time.Duration {
	if r.Floor == 0 {
		return defaultFloor
	}
	return r.Floor
}

// retry returns how long to wait after err: a name that does not exist is not
// asked for again before its absence expires, if the answer says when that is.
func (r *Resolver) retry(err error) time.Duration {
	var no *noRecords
	for _, e := range causes(err) {
		if !errors.As(e, &no) || !no.held {
			return r.floor()
		}
	}
	if no == nil {
		return r.floor()
	}
	return r.refresh(no.ttl) // of the last, that is the addresses
}

// causes splits what errors.Join joined.
func causes(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func (r *Resolver) conf() (*dns.ClientConfig, error) {
	path := r.Path
	if path == "" {
		path = defaultPath
	}
	conf, err := dns.ClientConfigFromFile(path)
	switch {
	case err != nil && len(r.Servers) > 0:
		conf, _ = dns.ClientConfigFromReader(strings.NewReader("")) // its defaults are all that is wanted
	case err != nil:
		return nil, fmt.Errorf("resolver configuration: %w", err)
	case len(r.Servers) == 0 && len(conf.Servers) == 0:
		return nil, fmt.Errorf("resolver configuration %s names no server", path)
	}
	return conf, r.override(conf)
}

// override puts r's own servers in place of conf's, in the form that query takes.
func (r *Resolver) override(conf *dns.ClientConfig) error {
	servers := make([]string, 0, len(conf.Servers))
	for _, s := range conf.Servers {
		servers = append(servers, joinPort(s, conf.Port))
	}
	if len(r.Servers) > 0 {
		servers = r.Servers
	}
	for _, s := range servers {
		if _, err := netip.ParseAddrPort(s); err != nil {
			return fmt.Errorf("name server %q: %w", s, err)
		}
	}
	conf.Servers = servers
	return nil
}

// candidates are the absolute names that host may mean, as resolv.conf's search
// list has it. One with a final dot is absolute already.
func candidates(conf *dns.ClientConfig, host string) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	return slices.Compact(conf.NameList(host))
}

// bounded sorts, and leaves out what is there twice or over maxReplicas.
func bounded(all []netip.AddrPort) []netip.AddrPort {
	slices.SortFunc(all, netip.AddrPort.Compare)
	all = slices.Compact(all)
	return all[:min(len(all), maxReplicas)]
}
