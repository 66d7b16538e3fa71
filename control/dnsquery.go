package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// A query asks a resolver configuration's servers about a name, or about the
// several absolute names that it may stand for.
type query struct {
	conf  *dns.ClientConfig // its servers as "ip:port"
	names []string
}

// ednsSize is what a server may send by UDP without the answer being cut to fit
// into one packet on the way.
const ednsSize = 1232

// services finds replicas by SRV records. One target that is no address in
// disguise spoils the whole answer: then these are not a headless service's.
func (q query) services(ctx context.Context) ([]netip.AddrPort, time.Duration, error) {
	answer, err := q.ask(ctx, dns.TypeSRV)
	if err != nil {
		return nil, 0, err
	}
	var all []netip.AddrPort
	for _, rr := range answer {
		if srv, ok := rr.(*dns.SRV); ok {
			ip, err := dashed(srv.Target)
			if err != nil || srv.Port == 0 {
				return nil, 0, fmt.Errorf("SRV record of %q: target %q port %d: not a replica's address", srv.Hdr.Name, srv.Target, srv.Port)
			}
			all = append(all, netip.AddrPortFrom(ip, srv.Port))
		}
	}
	return all, shortest(answer), nil
}

// dashed reads the IP address in a pod's DNS name, "10-0-0-1.name…" or
// "2001-db8--1.name…".
func dashed(target string) (netip.Addr, error) {
	label, _, _ := strings.Cut(target, ".")
	if ip, err := netip.ParseAddr(strings.ReplaceAll(label, "-", ".")); err == nil {
		return ip, nil
	}
	return netip.ParseAddr(strings.ReplaceAll(label, "-", ":"))
}

// hosts finds replicas by A records, or by AAAA records if there are none.
func (q query) hosts(ctx context.Context, port uint16) ([]netip.AddrPort, time.Duration, error) {
	answer, err := q.ask(ctx, dns.TypeA)
	if no := (*noRecords)(nil); errors.As(err, &no) {
		answer, err = q.ask(ctx, dns.TypeAAAA)
	}
	if err != nil {
		return nil, 0, err
	}
	var all []netip.AddrPort
	for _, rr := range answer {
		if ip, ok := address(rr); ok {
			all = append(all, netip.AddrPortFrom(ip, port))
		}
	}
	if len(all) == 0 {
		return nil, 0, fmt.Errorf("no usable address among %d records", len(answer))
	}
	return all, shortest(answer), nil
}

func address(rr dns.RR) (netip.Addr, bool) {
	var raw net.IP
	switch rr := rr.(type) {
	case *dns.A:
		raw = rr.A
	case *dns.AAAA:
		raw = rr.AAAA
	}
	ip, ok := netip.AddrFromSlice(raw)
	return ip.Unmap(), ok && !ip.IsUnspecified()
}

// shortest is how long all of an answer holds.
func shortest(answer []dns.RR) time.Duration {
	ttl := uint32(math.MaxUint32)
	for _, rr := range answer {
		ttl = min(ttl, rr.Header().Ttl)
	}
	return time.Duration(ttl) * time.Second
}

// ask returns the first answer that has a record of the kind, which it therefore
// holds at least one of.
func (q query) ask(ctx context.Context, kind uint16) ([]dns.RR, error) {
	err := errors.New("no name to ask for")
	for _, name := range q.names {
		var answer []dns.RR
		if answer, err = q.askFor(ctx, name, kind); err == nil {
			return answer, nil
		}
	}
	return nil, err
}

func (q query) askFor(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind).SetEdns0(ednsSize, false)
	var reply *dns.Msg
	err := errors.New("no server was asked")
	for range max(1, q.conf.Attempts) {
		if reply, err = q.round(ctx, m); err == nil {
			return records(reply, name, kind)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return nil, fmt.Errorf("%s records of %q: %w", dns.TypeToString[kind], name, err)
}

// A replied is what became of asking one server.
type replied struct {
	reply *dns.Msg
	err   error
}

// round returns the first useful answer of any server. The next one is asked once
// one has failed, or has been silent for a while; that one may still answer.
func (q query) round(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	var asked sync.WaitGroup
	defer asked.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := make(chan replied, len(q.conf.Servers))
	patience := time.NewTimer(0)
	defer patience.Stop()
	err := errors.New("there is no server")
	for left, open := q.conf.Servers, 0; open > 0 || len(left) > 0; {
		select {
		case <-patience.C:
		case r := <-replies:
			if open--; r.err == nil {
				return r.reply, nil
			}
			err = r.err
		}
		if len(left) > 0 {
			server := left[0]
			asked.Go(func() {
				reply, err := q.exchange(ctx, m.Copy(), server)
				replies <- replied{reply, err}
			})
			left, open = left[1:], open+1
			patience.Reset(resend)
		}
	}
	return nil, err
}

// exchange asks one server, by TCP if the answer does not fit into UDP. Its
// error means that the server is of no use just now.
func (q query) exchange(ctx context.Context, m *dns.Msg, server string) (*dns.Msg, error) {
	for _, network := range []string{"udp", "tcp"} {
		reply, err := q.converse(ctx, network, m, server)
		switch {
		case err != nil:
			return nil, fmt.Errorf("server %s: %w", server, err)
		case !answers(reply, m):
			return nil, fmt.Errorf("server %s answered another question", server)
		case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
			return nil, fmt.Errorf("server %s: %s", server, dns.RcodeToString[reply.Rcode])
		case !reply.Truncated:
			return reply, nil
		}
	}
	return nil, fmt.Errorf("server %s: the answer is cut off even by TCP", server)
}

// resend is how long a packet's answer is waited for before the packet is sent
// again, or another server asked. It is less than resolv.conf's timeout, which
// still bounds the whole: a server that was silent is heard soon after it speaks
// again, and one that is slow, too, since it is asked on the same socket.
const resend = 500 * time.Millisecond

// converse sends m, again if it was lost, and returns what comes back.
func (q query) converse(ctx context.Context, network string, m *dns.Msg, server string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(q.conf.Timeout)*time.Second)
	defer cancel()
	conn, err := (&dns.Client{Net: network, UDPSize: ednsSize}).DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.UDPSize = ednsSize
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	for {
		if err := conn.WriteMsg(m); err != nil {
			return nil, err
		}
		reply, err := hear(conn, m, network == "udp")
		var timeout net.Error
		switch {
		case ctx.Err() != nil && err != nil:
			return nil, context.Cause(ctx)
		case err == nil, !errors.As(err, &timeout), !timeout.Timeout():
			return reply, err
		}
	}
}

// hear reads m's answer, and passes over answers to what was asked by another
// packet. By TCP there is nothing to be sent again, and so it waits for longer.
func hear(conn *dns.Conn, m *dns.Msg, packets bool) (*dns.Msg, error) {
	if packets {
		_ = conn.SetReadDeadline(time.Now().Add(resend))
	}
	for {
		reply, err := conn.ReadMsg()
		if err != nil || reply.Id == m.Id {
			return reply, err
		}
	}
}

func answers(reply, m *dns.Msg) bool {
	return len(reply.Question) == 1 && reply.Question[0].Qtype == m.Question[0].Qtype &&
		strings.EqualFold(reply.Question[0].Name, m.Question[0].Name)
}

// records returns reply's answer if there is a record of the kind in it.
func records(reply *dns.Msg, name string, kind uint16) ([]dns.RR, error) {
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype == kind {
			return reply.Answer, nil
		}
	}
	no := &noRecords{name: name, kind: kind}
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*dns.SOA); ok { // RFC 2308, section 5
			no.ttl, no.held = time.Duration(min(soa.Hdr.Ttl, soa.Minttl))*time.Second, true
		}
	}
	return nil, no
}

func joinPort(host, port string) string {
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}
