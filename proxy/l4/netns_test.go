package l4

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

const (
	outboundPort = 4140
	inboundPort  = 4143
	proxyUID     = 2102
)

var (
	podAddrs  = []string{"10.99.0.1/24", "fd99::1/64"}
	peerAddrs = []string{"10.99.0.2/24", "fd99::2/64"}
)

// A host is a network namespace.
type host struct{ ns netns.NsHandle }

// do runs f on a thread that is in the host, and makes sockets for uid. What f
// opens stays in the host.
func (h host) do(uid int, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if err := netns.Set(h.ns); err != nil {
			panic(err)
		}
		unix.Setfsuid(uid)
		f()
	}()
	<-done
}

// dialer opens connections from the host, as uid.
func (h host) dialer(uid int, cfg DialConfig, addr netip.AddrPort) stack.Dialer {
	return func(ctx context.Context, s stack.Session) (c *stack.Conn, err error) {
		h.do(uid, func() { c, err = Dial(cfg, addr)(ctx, s) })
		return c, err
	}
}

// listen opens a listener on the host.
func (h host) listen(t *testing.T, addr string) (l net.Listener) {
	t.Helper()
	var err error
	h.do(0, func() { l, err = Listen(t.Context(), netip.MustParseAddrPort(addr), ListenConfig{}) })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serveOn serves h on l until the test ends.
func serveOn(t *testing.T, l net.Listener, h stack.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, h, ServeConfig{Cut: ctx.Done()}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func newHost(t *testing.T) host {
	t.Helper()
	made := make(chan netns.NsHandle)
	go func() {
		runtime.LockOSThread()
		ns, err := netns.New()
		if err != nil {
			t.Errorf("new namespace: %v", err)
		}
		made <- ns
	}()
	ns := <-made
	t.Cleanup(func() { ns.Close() })
	return host{ns}
}

// up gives the host's link addresses, and sets it and lo up.
func (h host) up(t *testing.T, link string, addrs []string) {
	t.Helper()
	nl, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	lo, lerr := nl.LinkByName("lo")
	veth, verr := nl.LinkByName(link)
	if err := errors.Join(lerr, verr); err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		addr.Flags |= unix.IFA_F_NODAD
		if err := nl.AddrAdd(veth, addr); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(nl.LinkSetUp(lo), nl.LinkSetUp(veth)); err != nil {
		t.Fatal(err)
	}
}

// settled waits until the host's link is up.
func (h host) settled(t *testing.T, link string) {
	t.Helper()
	nl, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	eventually(t, link+" is up", func() bool {
		l, err := nl.LinkByName(link)
		return err == nil && l.Attrs().OperState == netlink.OperUp
	})
}

// redirect sends what the host's programs open to the outbound port, and what
// comes from others to the inbound port, but for what the proxy itself opens.
func (h host) redirect(t *testing.T) {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(int(h.ns)))
	if err != nil {
		t.Fatal(err)
	}
	table := c.AddTable(&nftables.Table{Name: "mesh", Family: nftables.TableFamilyINet})
	chain := func(name string, hook *nftables.ChainHook) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: nftables.ChainPriorityNATDest})
	}
	rule := func(chain *nftables.Chain, e ...expr.Any) {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: e})
	}
	match := func(key expr.MetaKey, data []byte) []expr.Any {
		return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}}
	}
	spare := &expr.Verdict{Kind: expr.VerdictReturn}
	to := func(port uint16) []expr.Any {
		return append(match(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP}),
			&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
			&expr.Redir{RegisterProtoMin: 1})
	}
	var lo [16]byte
	copy(lo[:], "lo")
	output := chain("output", nftables.ChainHookOutput)
	rule(output, append(match(expr.MetaKeySKUID, binaryutil.NativeEndian.PutUint32(proxyUID)), spare)...)
	rule(output, append(match(expr.MetaKeyOIFNAME, lo[:]), spare)...)
	rule(output, to(outboundPort)...)
	rule(chain("prerouting", nftables.ChainHookPrerouting), to(inboundPort)...)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

// hosts returns a pod whose connections are redirected, and another host.
func hosts(t *testing.T) (pod, peer host) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: redirects are tested by root only, since they need network namespaces")
	}
	pod, peer = newHost(t), newHost(t)
	nl, err := netlink.NewHandleAt(pod.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "pod0"}, PeerName: "peer0", PeerNamespace: netlink.NsFd(int(peer.ns))}
	if err := nl.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	pod.up(t, "pod0", podAddrs)
	peer.up(t, "peer0", peerAddrs)
	pod.settled(t, "pod0")
	peer.settled(t, "peer0")
	pod.redirect(t)
	return pod, peer
}

// A seen connection is what a handler learned of one.
type seen struct {
	dst netip.AddrPort
	err error
}

// proxying serves layers over a handler that forwards to the original destination,
// and tells what became of each connection.
func (h host) proxying(t *testing.T, addr string, layers ...stack.Layer[stack.Handler]) <-chan seen {
	t.Helper()
	told := make(chan seen, 1)
	forward := stack.Chain(layers...)(func(ctx context.Context, c *stack.Conn) error {
		return Forward(h.dialer(proxyUID, DialConfig{Timeout: patience}, c.OrigDst))(ctx, c)
	})
	serveOn(t, h.listen(t, addr), func(ctx context.Context, c *stack.Conn) error {
		err := forward(ctx, c)
		told <- seen{c.OrigDst, err}
		return err
	})
	return told
}

// ask sends a line to addr from the host, and returns what comes back until the end.
func (h host) ask(t *testing.T, addr netip.AddrPort) (string, error) {
	t.Helper()
	cfg := DialConfig{Timeout: time.Second, AllowLoopback: true}
	c, err := h.dialer(0, cfg, addr)(t.Context(), stack.NoSession)
	if errors.Is(err, ErrConnectTimeout) { // the first packet over a new link may be lost
		c, err = h.dialer(0, cfg, addr)(t.Context(), stack.NoSession)
	}
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err = c.Write([]byte("hello")); err != nil {
		return "", err
	}
	if err = c.CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

func echoOn(t *testing.T, l net.Listener) netip.AddrPort {
	t.Helper()
	serveOn(t, l, func(_ context.Context, c *stack.Conn) error {
		defer c.Close()
		_, err := io.Copy(onlyWriter{c}, onlyReader{c})
		return err
	})
	return addrOf(l.Addr())
}

func TestRedirectedOutbound(t *testing.T) {
	pod, peer := hosts(t)
	own := addrs("127.0.0.1:4140", "[::1]:4140")
	for i, there := range []string{"10.99.0.2:0", "[fd99::2]:0"} {
		told := pod.proxying(t, own[i].String(), OrigDst, RefuseLoops(own...))
		dst := echoOn(t, peer.listen(t, there))
		if got, err := pod.ask(t, dst); err != nil || got != "hello" {
			t.Errorf("%s: %q, %v", dst, got, err)
		}
		if s := <-told; s.dst != dst || s.err != nil {
			t.Errorf("original destination %s, %v; want %s", s.dst, s.err, dst)
		}
		// Dialled directly, which nothing redirects.
		if _, err := pod.ask(t, own[i]); err == nil {
			t.Errorf("%s dialled directly: no error", own[i])
		}
		if s := <-told; !errors.Is(s.err, ErrLoop) {
			t.Errorf("%s dialled directly: to %s, %v", own[i], s.dst, s.err)
		}
		// The redirect lets the application connect to what is closed; it must learn.
		closed := netip.AddrPortFrom(dst.Addr(), 1)
		if _, err := pod.ask(t, closed); err == nil {
			t.Error("closed port: no error")
		}
		if s := <-told; s.dst != closed || !errors.Is(s.err, syscall.ECONNREFUSED) {
			t.Errorf("closed port: to %s, %v", s.dst, s.err)
		}
	}
}

// TestRedirectedInbound has one listener for both families, whose sockets are all
// of IPv6: an IPv4 connection's original destination is IPv4's all the same.
func TestRedirectedInbound(t *testing.T) {
	pod, peer := hosts(t)
	ours := []netip.Addr{netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("fd99::1")}
	told := pod.proxying(t, "[::]:4143", OrigDst, Allow(ours...), RefuseLoops(addrs("[::]:4143")...))
	for _, at := range []string{"10.99.0.1:0", "[fd99::1]:0"} {
		dst := echoOn(t, pod.listen(t, at))
		if got, err := peer.ask(t, dst); err != nil || got != "hello" {
			t.Errorf("%s: %q, %v", dst, got, err)
		}
		if s := <-told; s.dst != dst || s.err != nil {
			t.Errorf("original destination %s, %v; want %s", s.dst, s.err, dst)
		}
		direct := netip.AddrPortFrom(dst.Addr(), inboundPort)
		if _, err := peer.ask(t, direct); err == nil {
			t.Errorf("%s dialled directly: no error", direct)
		}
		if s := <-told; s.dst != direct || !errors.Is(s.err, ErrLoop) {
			t.Errorf("%s dialled directly: to %s, %v", direct, s.dst, s.err)
		}
	}
}

// TestOrigDstWithoutConntrack is for a host on which nothing was ever redirected,
// where the kernel says ENOENT.
func TestOrigDstWithoutConntrack(t *testing.T) {
	pod, peer := hosts(t)
	for _, at := range []string{"10.99.0.2:4140", "[fd99::2]:4140"} {
		want := netip.MustParseAddrPort(at)
		told := peer.proxying(t, at, OrigDst, RefuseLoops(want))
		pod.do(proxyUID, func() {
			c, err := net.DialTimeout("tcp", at, patience)
			if err == nil {
				io.Copy(io.Discard, c)
				c.Close()
			}
		})
		if s := <-told; s.dst != want || !errors.Is(s.err, ErrLoop) {
			t.Errorf("to %s, %v; want the listener's own %s, refused", s.dst, s.err, want)
		}
	}
}
