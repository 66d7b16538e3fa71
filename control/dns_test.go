package control

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A zone is a name server that a test can change while it runs. Its keys are
// "TYPE name."; what it has no records for does not exist.
type zone struct {
	mu      sync.Mutex
	records map[string][]string
	soa     string         // put beside negative answers
	rcode   map[string]int // instead of an answer
	cut     bool           // answers by UDP do not fit
	asked   []string       // in order
	other   bool           // answers are to another question
}

func (z *zone) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	q := r.Question[0]
	key := dns.TypeToString[q.Qtype] + " " + q.Name
	z.asked = append(z.asked, key)
	m := new(dns.Msg).SetReply(r)
	for _, s := range z.records[key] {
		m.Answer = append(m.Answer, record(s))
	}
	if len(m.Answer) == 0 {
		m.Rcode = dns.RcodeNameError
		if z.soa != "" {
			m.Ns = append(m.Ns, record(z.soa))
		}
	}
	if code, ok := z.rcode[key]; ok {
		m.Rcode, m.Answer = code, nil
	}
	if z.other {
		m.Question[0].Name = "other."
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp && z.cut {
		m.Truncated, m.Answer = true, nil
	}
	_ = w.WriteMsg(m)
}

func (z *zone) set(key string, records ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records[key] = records
}

func record(s string) dns.RR {
	rr, err := dns.NewRR(s)
	if err != nil {
		panic(err)
	}
	return rr
}

// nameServer serves z by UDP and TCP and returns its address.
func nameServer(t *testing.T, z *zone) string {
	t.Helper()
	if z.records == nil {
		z.records = make(map[string][]string)
	}
	packets, listener := samePort(t)
	var done sync.WaitGroup
	t.Cleanup(done.Wait) // which runs after the Shutdowns, as they are registered later
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: z}, {Listener: listener, Handler: z}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		done.Go(func() { _ = s.ActivateAndServe() })
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return packets.LocalAddr().String()
}

// samePort listens by UDP and TCP on a port that happens to be free for both.
func samePort(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", listener.Addr().String())
		if err == nil {
			return packets, listener
		}
		listener.Close()
	}
}

func TestLookup(t *testing.T) {
	for _, test := range []struct {
		name    string
		zone    *zone
		want    []string
		refresh time.Duration
		fails   string
	}{
		{
			name: "SRV targets are addresses in disguise",
			zone: &zone{records: map[string][]string{"SRV dst.l5d.": {
				"dst.l5d. 30 SRV 0 0 8087 10-0-0-2.dst.l5d.", "dst.l5d. 60 SRV 0 0 8086 10-0-0-1.dst.l5d.", "dst.l5d. 60 SRV 0 0 8086 2001-db8--1.dst.l5d.",
			}}},
			want: []string{"10.0.0.1:8086", "10.0.0.2:8087", "[2001:db8::1]:8086"}, refresh: 30 * time.Second,
		},
		{
			name: "one target that is a name spoils the answer",
			zone: &zone{records: map[string][]string{
				"SRV dst.l5d.": {"dst.l5d. 30 SRV 0 0 8086 10-0-0-2.dst.l5d.", "dst.l5d. 30 SRV 0 0 8086 web-0.dst.l5d."},
				"A dst.l5d.":   {"dst.l5d. 40 A 10.0.0.9"},
			}},
			want: []string{"10.0.0.9:1234"}, refresh: 40 * time.Second,
		},
		{
			name: "addresses if there is no SRV, each once, with the shortest time to live of all",
			zone: &zone{records: map[string][]string{"A dst.l5d.": {
				"dst.l5d. 7 CNAME other.l5d.", "other.l5d. 90 A 10.0.0.2", "other.l5d. 90 A 10.0.0.1", "other.l5d. 90 A 10.0.0.2",
			}}},
			want: []string{"10.0.0.1:1234", "10.0.0.2:1234"}, refresh: 7 * time.Second,
		},
		{
			name: "IPv6 if there is no IPv4",
			zone: &zone{records: map[string][]string{"AAAA dst.l5d.": {"dst.l5d. 0 AAAA 2001:db8::2"}}},
			want: []string{"[2001:db8::2]:1234"}, refresh: 5 * time.Second,
		},
		{
			name: "by TCP if it does not fit",
			zone: &zone{cut: true, records: map[string][]string{"A dst.l5d.": {"dst.l5d. 60 A 10.0.0.1"}}},
			want: []string{"10.0.0.1:1234"}, refresh: time.Minute,
		},
		{name: "nothing at all", zone: &zone{}, fails: `no SRV records for "dst.l5d."` + "\n" + `no AAAA records for "dst.l5d."`},
		{
			name:  "an answer without an address that can be used",
			zone:  &zone{records: map[string][]string{"A dst.l5d.": {"dst.l5d. 60 A 0.0.0.0"}}},
			fails: "no usable address",
		},
		{
			name:  "a server that fails",
			zone:  &zone{rcode: map[string]int{"SRV dst.l5d.": dns.RcodeServerFailure, "A dst.l5d.": dns.RcodeRefused}},
			fails: "REFUSED",
		},
		{name: "an answer to another question", zone: &zone{other: true}, fails: "another question"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &Resolver{Path: "none", Servers: []string{nameServer(t, test.zone)}}
			var outcomes tally
			got, err := r.lookup(t.Context(), Addr{"dst.l5d.", 1234}, func(record string, ok bool) { outcomes.Resolution("", record, ok) })
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("found %v, %v, want an error with %q", got, err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := texts(got.replicas); !reflect.DeepEqual(s, test.want) || got.refresh != test.refresh {
				t.Errorf("found %v for %v, want %v for %v", s, got.refresh, test.want, test.refresh)
			}
			if n := outcomes.of("SRV true") + outcomes.of("A/AAAA true"); n != 1 {
				t.Errorf("outcomes %v, want one success", outcomes.seen)
			}
		})
	}
}

func texts(addrs []netip.AddrPort) []string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return all
}

func nothing(string, bool) {}

func TestLookupOfManyReplicas(t *testing.T) {
	z := &zone{records: map[string][]string{}, cut: true}
	for i := range 400 {
		ip := netip.AddrFrom4([4]byte{10, 0, byte(i / 256), byte(i)})
		z.records["A dst."] = append(z.records["A dst."], "dst. 60 A "+ip.String())
	}
	r := &Resolver{Path: "none", Servers: []string{nameServer(t, z)}}
	got, err := r.lookup(t.Context(), Addr{"dst.", 1}, nothing)
	if err != nil || len(got.replicas) != maxReplicas {
		t.Errorf("found %d, %v, want no more than %d", len(got.replicas), err, maxReplicas)
	}
}

func TestLookupPassesOverDeadServers(t *testing.T) {
	z := &zone{records: map[string][]string{"A dst.": {"dst. 60 A 10.0.0.1"}}}
	r := &Resolver{Path: "none", Servers: []string{"127.0.0.1:1", nameServer(t, z)}}
	got, err := r.lookup(t.Context(), Addr{"dst.", 1}, nothing)
	if err != nil || len(got.replicas) != 1 {
		t.Errorf("found %v, %v, want the second server's answer", got, err)
	}
}

func TestLookupCancelled(t *testing.T) {
	silent, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r := &Resolver{Path: "none", Servers: []string{silent.LocalAddr().String()}}
	if _, err := r.lookup(ctx, Addr{"dst.", 1}, nothing); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent server: %v, want DeadlineExceeded", err)
	}
}

func TestResolvConf(t *testing.T) {
	z := &zone{records: map[string][]string{"A dst.l5d.svc.cluster.local.": {"dst.l5d.svc.cluster.local. 60 A 10.0.0.1"}}}
	server := nameServer(t, z)
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("nameserver 192.0.2.1\nsearch svc.cluster.local cluster.local\noptions ndots:5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &Resolver{Path: path, Servers: []string{server}}
	if _, err := r.lookup(t.Context(), Addr{"dst.l5d", 1}, nothing); err != nil {
		t.Errorf("a relative name: %v, want it found through the search list", err)
	}
	if _, err := r.lookup(t.Context(), Addr{"dst.l5d.", 1}, nothing); err == nil {
		t.Error("an absolute name was found through the search list")
	}
	conf, err := (&Resolver{Path: path}).conf()
	if err != nil || !slices.Equal(conf.Servers, []string{"192.0.2.1:53"}) {
		t.Errorf("servers %v, %v, want the file's", conf, err)
	}
	for path, content := range map[string]string{"empty": "", "wrong": "nameserver here\n"} {
		path := filepath.Join(t.TempDir(), path)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (&Resolver{Path: path}).lookup(t.Context(), Addr{"dst.", 1}, nothing); err == nil {
			t.Errorf("resolv.conf %q: no error", content)
		}
	}
	if _, err := (&Resolver{Path: "none"}).lookup(t.Context(), Addr{"dst.", 1}, nothing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no resolv.conf: %v, want ErrNotExist", err)
	}
}

func TestRefresh(t *testing.T) {
	for _, test := range []struct {
		r         Resolver
		ttl, want time.Duration
	}{
		{Resolver{}, 0, 5 * time.Second},
		{Resolver{}, time.Minute, time.Minute},
		{Resolver{MaxTTL: 10 * time.Second}, time.Minute, 10 * time.Second},
		{Resolver{MaxTTL: time.Second}, time.Minute, 5 * time.Second},
		{Resolver{MinTTL: 30 * time.Second}, time.Second, 30 * time.Second},
		{Resolver{}, math.MaxInt32 * time.Second, time.Hour},
	} {
		if got := test.r.refresh(test.ttl); got != test.want {
			t.Errorf("%+v: a TTL of %v refreshes after %v, want %v", test.r, test.ttl, got, test.want)
		}
	}
}

func TestRetryAfterAbsence(t *testing.T) {
	z := &zone{soa: "l5d. 60 SOA ns.l5d. admin.l5d. 1 2 3 4 45"}
	r := &Resolver{Path: "none", Servers: []string{nameServer(t, z)}}
	_, err := r.lookup(t.Context(), Addr{"dst.l5d.", 1}, nothing)
	if wait := r.retry(err); wait != 45*time.Second {
		t.Errorf("a name that is known not to exist: wait %v, want 45s (%v)", wait, err)
	}
	z.mu.Lock()
	z.soa = ""
	z.mu.Unlock()
	_, err = r.lookup(t.Context(), Addr{"dst.l5d.", 1}, nothing)
	if wait := r.retry(err); wait != defaultFloor {
		t.Errorf("a failure that says nothing of its time: wait %v, want %v", wait, defaultFloor)
	}
}
