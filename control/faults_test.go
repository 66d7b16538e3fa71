package control

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A nameless is a name server that a test has do what no sound one does. What
// reply returns is sent as it stands; nil is silence.
type nameless struct {
	packets  net.PacketConn
	listener net.Listener
	serving  sync.WaitGroup

	mu    sync.Mutex
	reply func(q *dns.Msg, udp bool) []byte
	asked int
}

func startNameless(t *testing.T) *nameless {
	t.Helper()
	n := new(nameless)
	n.packets, n.listener = samePort(t)
	n.serving.Go(n.servePackets)
	n.serving.Go(n.serveConns)
	t.Cleanup(func() {
		_ = n.packets.Close()
		_ = n.listener.Close()
		n.serving.Wait()
	})
	return n
}

func (n *nameless) servePackets() {
	b := make([]byte, 65535)
	for {
		size, from, err := n.packets.ReadFrom(b)
		if err != nil {
			return
		}
		if r := n.answer(b[:size], true); r != nil {
			_, _ = n.packets.WriteTo(r, from)
		}
	}
}

func (n *nameless) serveConns() {
	for {
		c, err := n.listener.Accept()
		if err != nil {
			return
		}
		conn := &dns.Conn{Conn: c}
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if b, err := conn.ReadMsgHeader(nil); err == nil {
			if r := n.answer(b, false); r != nil {
				_, _ = conn.Write(r)
			}
		}
		_ = c.Close()
	}
}

func (n *nameless) answer(b []byte, udp bool) []byte {
	q := new(dns.Msg)
	if q.Unpack(b) != nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return n.reply(q, udp)
}

func (n *nameless) set(reply func(q *dns.Msg, udp bool) []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reply, n.asked = reply, 0
}

func (n *nameless) questions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// with packs q's reply after change.
func with(change func(m *dns.Msg)) func(*dns.Msg, bool) []byte {
	return func(q *dns.Msg, _ bool) []byte {
		m := new(dns.Msg).SetReply(q)
		change(m)
		b, _ := m.Pack()
		return b
	}
}

func rcode(code int) func(*dns.Msg, bool) []byte { return with(func(m *dns.Msg) { m.Rcode = code }) }

// answering replies to questions for A records with those given, and to others
// with none.
func answering(records ...string) func(*dns.Msg, bool) []byte {
	return with(func(m *dns.Msg) {
		for _, s := range records {
			if rr := record(s); rr.Header().Rrtype == m.Question[0].Qtype || rr.Header().Rrtype == dns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
		}
	})
}

func silence(*dns.Msg, bool) []byte { return nil }

func truncated(m *dns.Msg) { m.Truncated = true }

// sound is where the replica is. Its time to live of nothing must not make us ask
// without end.
const sound = "dst.l5d. 0 A 127.0.0.1"

// dnsFaults are the ways of a name server to be of no use.
func dnsFaults() map[string]func(*dns.Msg, bool) []byte {
	soa := record("l5d. 60 SOA ns.l5d. admin.l5d. 1 2 3 4 45")
	many := func(m *dns.Msg) {
		for i := range 10_000 {
			m.Answer = append(m.Answer, record(fmt.Sprintf("dst.l5d. 0 TXT %d", i)))
		}
	}
	return map[string]func(*dns.Msg, bool) []byte{
		"silence":        silence,
		"zero answers":   with(func(*dns.Msg) {}),
		"no such name":   with(func(m *dns.Msg) { m.Rcode, m.Ns = dns.RcodeNameError, []dns.RR{soa} }),
		"SERVFAIL":       rcode(dns.RcodeServerFailure),
		"REFUSED":        rcode(dns.RcodeRefused),
		"nothing by TCP": func(q *dns.Msg, udp bool) []byte { return map[bool][]byte{true: with(truncated)(q, udp)}[udp] },
		"always cut off": with(truncated),
		"garbage":        func(*dns.Msg, bool) []byte { return []byte("\xff\xfe garbage, and no message at all") },
		"a stub":         func(q *dns.Msg, _ bool) []byte { b, _ := q.Pack(); return b[:5] },
		"another ID":     with(func(m *dns.Msg) { m.Id++ }),
		"another question": with(func(m *dns.Msg) {
			m.Question[0].Name = "evil."
			m.Answer = append(m.Answer, record("evil. 60 A 127.0.0.9"))
		}),
		"a loop of names":   answering("dst.l5d. 0 CNAME a.l5d.", "a.l5d. 0 CNAME dst.l5d."),
		"an address of all": answering("dst.l5d. 0 A 0.0.0.0"),
		"10,000 records":    with(many),
		"targets by name": with(func(m *dns.Msg) {
			if m.Question[0].Qtype == dns.TypeSRV {
				m.Answer = append(m.Answer, record("dst.l5d. 0 SRV 0 0 1 web-0.dst.l5d."), record("dst.l5d. 0 SRV 0 0 0 10-0-0-1.dst.l5d."))
			}
		}),
	}
}

// healed is within what time of good data the next success must come. The second
// half is for a machine that is busy with other tests.
const healed = 2 * time.Second

// TestDNSFaults has a name server that fails in every way. A Client that has found
// its replica goes on with it; one that has not finds it as soon as the server is
// well, though its last word was to hold for longer. Meanwhile neither asks as
// fast as it can. (linkerd2 #14954: an answer without records was the end.)
func TestDNSFaults(t *testing.T) {
	here, _ := serve(t, "127.0.0.1:0", &fake{get: say(1)})
	_, port, _ := net.SplitHostPort(here)
	for name, fault := range dnsFaults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startNameless(t)
			conf := config(t, "dst.l5d.:"+port)
			conf.Backoff = Backoff{Min: 100 * time.Millisecond, Max: 500 * time.Millisecond}
			conf.DNS = &Resolver{Path: "none", Servers: []string{server.packets.LocalAddr().String()}}
			server.set(answering(sound))
			found := dial(t, conf)
			if _, err := first(soon(t), found); err != nil {
				t.Fatal(err)
			}
			server.set(fault)
			search := make(chan error, 1)
			searching := dial(t, conf)
			go func() { _, err := first(soon(t), searching); search <- err }()
			const pause = 500 * time.Millisecond
			select {
			case err := <-search:
				t.Errorf("found a replica: %v", err)
			case <-time.After(pause):
			}
			if n := server.questions(); n > 40 { // three kinds of records, each asked for twice, at 0, 100, 300 and 700 ms
				t.Errorf("asked %d times in %v", n, pause)
			}
			if _, err := first(soon(t), found); err != nil {
				t.Errorf("what was found before: %v", err)
			}
			server.set(answering(sound))
			began := time.Now()
			if err := <-search; err != nil || time.Since(began) > healed {
				t.Errorf("found %v after the server was well: %v", time.Since(began), err)
			}
		})
	}
}

// TestDNSMoves has the only replica move, while the last answer is to hold for 68
// years, and another record set each time it is asked for.
func TestDNSMoves(t *testing.T) {
	here, stop := serve(t, "127.0.0.1:0", &fake{get: say(1)})
	_, port, _ := net.SplitHostPort(here)
	server := startNameless(t)
	server.set(answering("dst.l5d. 2147483647 A 127.0.0.1"))
	conf := config(t, "dst.l5d.:"+port)
	conf.DNS = &Resolver{Path: "none", Servers: []string{server.packets.LocalAddr().String()}}
	c := dial(t, conf)
	if _, err := first(soon(t), c); err != nil {
		t.Fatal(err)
	}
	stop()
	_, _ = serve(t, "127.0.0.2:"+port, &fake{get: say(1)})
	turn := 0
	server.set(func(q *dns.Msg, udp bool) []byte {
		turn++
		return answering(fmt.Sprintf("dst.l5d. 0 A 127.0.0.%d", 2+turn%2*7))(q, udp)
	})
	began := time.Now()
	eventually(t, "the replica is found where it is now", func() bool { _, err := first(soon(t), c); return err == nil })
	if took := time.Since(began); took > healed {
		t.Errorf("found %v after it had moved", took)
	}
}

// TestDNSDoesNotSpin has a client that is content, and answers that hold for no
// time at all: it is to ask once.
func TestDNSDoesNotSpin(t *testing.T) {
	here, _ := serve(t, "127.0.0.1:0", &fake{get: say(1)})
	_, port, _ := net.SplitHostPort(here)
	server := startNameless(t)
	server.set(answering(sound))
	conf := config(t, "dst.l5d.:"+port)
	conf.DNS = &Resolver{Path: "none", Servers: []string{server.packets.LocalAddr().String()}}
	c := dial(t, conf)
	if _, err := first(soon(t), c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	before := server.questions()
	<-ctx.Done()
	if n := server.questions() - before; n > 2 {
		t.Errorf("asked %d times in a second", n)
	}
}

// TestLookupOfTwoServers has a server that is silent, and one that is well: the
// second is asked before the first is given up.
func TestLookupOfTwoServers(t *testing.T) {
	mute, well := startNameless(t), startNameless(t)
	mute.set(silence)
	well.set(answering(sound))
	r := &Resolver{Path: "none", Servers: []string{mute.packets.LocalAddr().String(), well.packets.LocalAddr().String()}}
	began := time.Now()
	f, err := r.lookup(soon(t), Addr{"dst.l5d.", 1}, nothing)
	if err != nil || len(f.replicas) != 1 || time.Since(began) > 2*resend+2*time.Second {
		t.Errorf("%v, %v after %v", f, err, time.Since(began))
	}
}
