package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/outrigger-mesh/outrigger/control/local"
	"github.com/outrigger-mesh/outrigger/proxy/telemetry"
)

// asSidecar is set for the test's own program to be a sidecar: a process may be
// in another network namespace, and another user's, which a test is not.
const asSidecar = "TEST_AS_SIDECAR"

func sidecarMain() (exit int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, _, err := ReadEnv(os.Environ())
	log, filter := telemetry.Logs("warn", telemetry.PlainLog, os.Stderr, os.Stderr)
	if err == nil {
		err = Run(ctx, c, Options{Log: log, Filter: filter})
	}
	if err != nil {
		log.Error("the sidecar has ended", "err", err)
		return 1
	}
	return 0
}

const (
	sidecarPort = 4140
	sidecarUID  = 2102
)

// A pod is a network namespace in which what its programs send to 10.0.0.0/8 or
// fd00::/8 is redirected to a sidecar, but for what the sidecar itself sends.
type pod struct{ ns netns.NsHandle }

func newPod(t *testing.T) pod {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: redirects are tested by root only, since they need a network namespace")
	}
	made := make(chan netns.NsHandle)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		ns, err := netns.New()
		if err != nil {
			t.Errorf("new namespace: %v", err)
		}
		made <- ns
	}()
	p := pod{<-made}
	t.Cleanup(func() { p.ns.Close() })
	p.connect(t)
	p.redirect(t)
	return p
}

// do runs f on a thread that is in the pod, and makes sockets for uid. What f
// opens or starts stays in the pod.
func (p pod) do(uid int, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := netns.Set(p.ns); err != nil {
			panic(err)
		}
		unix.Setfsuid(uid)
		f()
	}()
	<-done
}

// connect gives the pod an address of each family, and a way to those of services.
func (p pod) connect(t *testing.T) {
	t.Helper()
	nl, err := netlink.NewHandleAt(p.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	lo, err := nl.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	err = nl.LinkSetUp(lo)
	for _, text := range []string{"10.99.0.1/24", "fd99::1/64"} {
		addr, aerr := netlink.ParseAddr(text)
		if aerr == nil {
			addr.Flags |= unix.IFA_F_NODAD // else it cannot be bound until the kernel has asked for others that have it
		}
		err = errors.Join(err, aerr, nl.AddrAdd(lo, addr))
	}
	for _, text := range []string{"10.96.0.0/16", "fd96::/64"} {
		_, services, perr := net.ParseCIDR(text)
		err = errors.Join(err, perr, nl.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: services}))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p pod) redirect(t *testing.T) {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(int(p.ns)))
	if err != nil {
		t.Fatal(err)
	}
	table := c.AddTable(&nftables.Table{Name: "mesh", Family: nftables.TableFamilyINet})
	output := c.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	meta := func(key expr.MetaKey, data []byte) []expr.Any {
		return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}}
	}
	c.AddRule(&nftables.Rule{Table: table, Chain: output, Exprs: append(
		meta(expr.MetaKeySKUID, binaryutil.NativeEndian.PutUint32(sidecarUID)), &expr.Verdict{Kind: expr.VerdictReturn})})
	for _, to := range []struct {
		family       byte
		offset       uint32 // of the destination, in the packet
		firstOfThose byte
	}{{unix.NFPROTO_IPV4, 16, 10}, {unix.NFPROTO_IPV6, 24, 0xfd}} {
		rule := append(meta(expr.MetaKeyNFPROTO, []byte{to.family}), meta(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_TCP})...)
		c.AddRule(&nftables.Rule{Table: table, Chain: output, Exprs: append(rule,
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: to.offset, Len: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{to.firstOfThose}},
			&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, sidecarPort)},
			&expr.Redir{RegisterProtoMin: 1})})
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

func (p pod) listen(t *testing.T, addr string) (l net.Listener) {
	t.Helper()
	var err error
	p.do(0, func() { l, err = net.Listen("tcp", addr) })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (p pod) dial(uid int, addr string) (c net.Conn, err error) {
	p.do(uid, func() { c, err = net.DialTimeout("tcp", addr, patience) })
	return c, err
}

// serve serves HTTP at addr until the test ends, and returns where that is.
func (p pod) serve(t *testing.T, addr string, h http.HandlerFunc) string {
	t.Helper()
	l := p.listen(t, addr)
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

// control serves a mesh file's content in the pod until the test ends.
func (p pod) control(t *testing.T, yaml string) string {
	t.Helper()
	mesh, err := local.Parse([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	l := p.listen(t, "127.0.0.1:0")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- local.New(local.Config{Mesh: mesh}).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// sidecar starts a sidecar in the pod, and returns what ends it, as a pod's end
// does.
func (p pod) sidecar(t *testing.T, control string, env ...string) (end func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe") // by that name, since its user may not see the directory where the program is
	cmd.Env = append([]string{
		asSidecar + "=1",
		"OUTRIGGER_UNMESHED=true", "OUTRIGGER_LAME_DUCK=0", "OUTRIGGER_DRAIN_IDLE=0",
		"LINKERD2_PROXY_DESTINATION_SVC_ADDR=" + control,
		"LINKERD2_PROXY_POLICY_SVC_ADDR=" + control,
		"LINKERD2_PROXY_POLICY_WORKLOAD=test:test",
		"LINKERD2_PROXY_OUTBOUND_LISTEN_ADDRS=127.0.0.1:4140,[::1]:4140",
	}, env...)
	cmd.Stdout, cmd.Stderr = testWriter{t}, testWriter{t}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: sidecarUID, Gid: sidecarUID}}
	var err error
	p.do(0, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the sidecar ended with %v", err)
		}
	}
	t.Cleanup(end)
	return end
}
