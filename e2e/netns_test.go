package e2e_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	sidecarUID  = 2102
	adminAddr   = "127.0.0.1:4191"
	controlAddr = "127.0.0.1:8086"
)

// A pod is a network namespace in which what programs send and are sent over TCP
// is redirected to a sidecar, but for what the sidecar itself sends, as linkerd's
// init program has it.
type pod struct {
	ns     netns.NsHandle
	v4, v6 string // its addresses
}

// twoPods makes two, joined by a link. 10.96.0.0/16 and fd96::/64 are services',
// and lead to it.
func twoPods(t *testing.T) (client, server pod) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: redirects are tested by root only, since they need network namespaces")
	}
	client, server = newPod(t, "10.99.1.1", "fd99:1::1"), newPod(t, "10.99.1.2", "fd99:1::2")
	nl := handle(t, client)
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(server.ns))}
	if err := nl.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []pod{client, server} {
		p.up(t)
		p.redirect(t)
	}
	return client, server
}

func newPod(t *testing.T, v4, v6 string) pod {
	t.Helper()
	made := make(chan netns.NsHandle)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		ns, err := netns.New()
		if err != nil {
			t.Errorf("new namespace: %v", err)
		}
		made <- ns
	}()
	p := pod{<-made, v4, v6}
	t.Cleanup(func() { p.ns.Close() })
	return p
}

func handle(t *testing.T, p pod) *netlink.Handle {
	t.Helper()
	nl, err := netlink.NewHandleAt(p.ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nl.Close)
	return nl
}

// up gives the pod's link its addresses and routes, and waits until it carries.
func (p pod) up(t *testing.T) {
	t.Helper()
	nl := handle(t, p)
	lo, lerr := nl.LinkByName("lo")
	eth, eerr := nl.LinkByName("eth0")
	if err := errors.Join(lerr, eerr); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(nl.LinkSetUp(lo), nl.LinkSetUp(eth))
	for _, text := range []string{p.v4 + "/24", p.v6 + "/64"} {
		addr, aerr := netlink.ParseAddr(text)
		if aerr == nil {
			addr.Flags |= unix.IFA_F_NODAD // else it cannot be bound until the kernel has asked for others that have it
		}
		err = errors.Join(err, aerr, nl.AddrAdd(eth, addr))
	}
	for _, text := range []string{"10.96.0.0/16", "fd96::/64"} {
		_, services, perr := net.ParseCIDR(text)
		err = errors.Join(err, perr, nl.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Dst: services}))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// redirect sends what programs open to the outbound listener, and what comes from
// others to the inbound one.
func (p pod) redirect(t *testing.T) {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(int(p.ns)))
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
	lo := make([]byte, unix.IFNAMSIZ)
	copy(lo, "lo")
	output := chain("output", nftables.ChainHookOutput)
	rule(output, append(match(expr.MetaKeySKUID, binaryutil.NativeEndian.PutUint32(sidecarUID)), spare)...)
	rule(output, append(match(expr.MetaKeyOIFNAME, lo), spare)...)
	rule(output, to(4140)...)
	rule(chain("prerouting", nftables.ChainHookPrerouting), to(4143)...)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

// do runs f on a thread that is in the pod, and makes sockets for uid. What f
// opens or starts stays there.
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

func (p pod) dial(uid int, addr string) (c net.Conn, err error) {
	p.do(uid, func() { c, err = net.DialTimeout("tcp", addr, 15*time.Second) })
	return c, err
}

// listen opens a listener on a free port of one of the pod's addresses, and has
// serve serve what it accepts, until the test ends.
func (p pod) listen(t *testing.T, ip string, serve func(net.Listener)) string {
	t.Helper()
	var l net.Listener
	var err error
	p.do(0, func() { l, err = net.Listen("tcp", net.JoinHostPort(ip, "0")) })
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); serve(l) }()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// run runs a program in the pod to its end, and returns what it wrote.
func (p pod) run(t *testing.T, env []string, program string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("SKIPPED: %v; .ci/run installs it", err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p.do(0, func() { err = cmd.Start() })
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out.String())
	}
	return out.String()
}

// background runs the built program in the pod, as uid, until the test ends. That
// has to be in order.
func (p pod) background(t *testing.T, name string, uid uint32, env []string, args ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(exe, args...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	p.do(0, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
		if text, _ := os.ReadFile(path); t.Failed() {
			t.Logf("%s wrote:\n%s", name, text)
		}
	})
}

// sidecar starts the built sidecar, as the user whose connections are not
// redirected, with a control plane beside it, and waits until it is ready.
func (p pod) sidecar(t *testing.T, name, mesh string, env ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(file, []byte(mesh), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(exe), 0o755); err != nil { // the program is another user's
		t.Fatal(err)
	}
	p.background(t, name+"'s control plane", 0, nil, "control", "--file", file, "--listen", controlAddr)
	p.background(t, name, sidecarUID, append([]string{
		"OUTRIGGER_UNMESHED=true", "OUTRIGGER_LAME_DUCK=0",
		"LINKERD2_PROXY_SHUTDOWN_GRACE_PERIOD=2s",
		"LINKERD2_PROXY_DESTINATION_SVC_ADDR=" + controlAddr,
		"LINKERD2_PROXY_POLICY_SVC_ADDR=" + controlAddr,
		"LINKERD2_PROXY_POLICY_WORKLOAD=test:test",
		"LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS=10.0.0.0/8,fd00::/8",
		"LINKERD2_PROXY_OUTBOUND_LISTEN_ADDRS=127.0.0.1:4140,[::1]:4140",
		"LINKERD2_PROXY_INBOUND_LISTEN_ADDR=[::]:4143",
		"LINKERD2_PROXY_INBOUND_IPS=" + p.v4 + "," + p.v6,
		"LINKERD2_PROXY_ADMIN_LISTEN_ADDR=" + adminAddr,
	}, env...), "proxy")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); <-tick.C {
		if status, _, err := p.admin("/ready"); err == nil && status == http.StatusOK {
			return
		}
	}
	t.Fatalf("%s is not ready", name)
}

// admin asks the pod's sidecar for a path.
func (p pod) admin(path string) (status int, text string, err error) {
	c, err := p.dial(0, adminAddr)
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	used := false
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, errors.New("there is one connection")
		}
		used = true
		return c, nil
	}}}
	resp, err := client.Get("http://" + adminAddr + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// counted adds up a family's samples in the pod's sidecar that have all labels.
func (p pod) counted(t *testing.T, family string, labels ...string) int {
	t.Helper()
	_, text, err := p.admin("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
lines:
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, family+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue lines
			}
		}
		var n float64
		if _, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		sum += int(n)
	}
	return sum
}
