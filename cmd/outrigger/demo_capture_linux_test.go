package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// marker is in what every client sends of which there is enough, and in the answers.
const marker = "abcdefghijklmnopqrstuvwxyz"

// TestDemoCaptured sends requests of every kind through the demonstration, and looks
// at what passes on loopback: between sidecars TLS 1.3 and nothing else; between the
// last sidecar and the application the marker, in the clear.
func TestDemoCaptured(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root may capture what passes on loopback")
	}
	t.Setenv(asProgram, "1") // for what the demonstration starts
	var out strings.Builder
	d, err := newDemo(&out, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { d.close(nil) }()
	if err := d.up(t.Context()); err != nil {
		t.Fatalf("%v: %q", err, d.procs.tails())
	}
	var doors, apps []netip.AddrPort
	for _, w := range d.mesh.workloads {
		doors = append(doors, netip.MustParseAddrPort(w.in))
		for _, app := range []string{w.web, w.shop, w.feed, w.chat, w.db} {
			apps = append(apps, netip.MustParseAddrPort(app))
		}
	}
	c := captureAt(t, append(doors, apps...))
	for _, l := range d.mesh.loads().all() {
		sendSome(t, l)
	}
	all := c.flows(t)
	between, last := all.at(doors), all.at(apps)
	if least := 10; len(between) < least || last.with(marker) < least { // five services that share no connection, there and back
		t.Fatalf("%d flows between sidecars; the marker is in %d of %d to and from applications", len(between), last.with(marker), len(last))
	}
	for _, complaint := range between.amiss(doors) {
		t.Error(complaint)
	}
	if n := between.with(marker); n > 0 {
		t.Errorf("the marker is in %d flows between sidecars", n)
	}
	if n := len(last.amiss(apps)); n != len(last) {
		t.Errorf("%d flows to and from applications are taken for TLS", len(last)-n)
	}
}

func sendSome(t *testing.T, l *load) {
	t.Helper()
	request, done := l.open()
	defer done()
	for _, n := range []int{1, 2, 4} { // POST, with content
		if _, err := request(t.Context(), n); err != nil {
			t.Errorf("%s, %s: %v", l.name, l.protocol, err)
		}
	}
}

// amiss says which flows are not TLS 1.3.
func (all flows) amiss(servers []netip.AddrPort) (complaints []string) {
	for f, sent := range all {
		if err := tls13(sent, slices.Contains(servers, f.from)); err != nil {
			complaints = append(complaints, fmt.Sprintf("%s → %s: %v; it begins %.60x", f.from, f.to, err, sent))
		}
	}
	return complaints
}

// What a TLS record has in it, and two of the handshake's messages (RFC 8446).
const (
	changeCipherSpec, handshake, applicationData = 20, 22, 23
	clientHello, serverHello                     = 1, 2
)

// tls13 sees that sent is records of TLS: a hello, and from then on nothing that is
// not encrypted, but for a ChangeCipherSpec that says nothing.
func tls13(sent []byte, server bool) error {
	const head, most = 5, 1<<14 + 256
	for n := 0; len(sent) > 0; n++ {
		if len(sent) < head {
			return errors.New("half the head of a record")
		}
		kind, size := sent[0], int(binary.BigEndian.Uint16(sent[3:]))
		if sent[1] != 3 || size > most || len(sent) < head+size {
			return fmt.Errorf("record %d is none, or is cut: %.20x", n, sent)
		}
		content := sent[head : head+size]
		sent = sent[head+size:]
		switch {
		case n == 0 && kind == handshake:
			if err := hello(content, server); err != nil {
				return err
			}
		case n == 0, kind != applicationData && (kind != changeCipherSpec || !bytes.Equal(content, []byte{1})):
			return fmt.Errorf("record %d has type %d", n, kind)
		}
	}
	return nil
}

// hello sees that m is a ClientHello, or a ServerHello that has chosen TLS 1.3.
func hello(m []byte, server bool) error {
	if !server {
		if len(m) == 0 || m[0] != clientHello {
			return fmt.Errorf("no ClientHello: %.20x", m)
		}
		return nil
	}
	const session = 4 + 2 + 32 // where its length stands: behind head, version and random
	if len(m) <= session || m[0] != serverHello {
		return fmt.Errorf("no ServerHello: %.20x", m)
	}
	rest := m[session+1+int(m[session]):]
	for rest = rest[2+1+2:]; len(rest) >= 4; { // behind suite, compression, and the length of all extensions
		kind, size := binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
		if kind == 43 { // supported_versions
			if !bytes.Equal(rest[4:4+size], []byte{3, 4}) {
				return fmt.Errorf("it has chosen version %x", rest[4:4+size])
			}
			return nil
		}
		rest = rest[4+size:]
	}
	return errors.New("a ServerHello of before TLS 1.3")
}

// A capture is a socket that is given what passes on loopback. Its buffer is large
// enough for all of it, and read at the end.
type capture struct{ fd int }

// captureAt captures what is sent from or to any of addrs.
func captureAt(t *testing.T, addrs []netip.AddrPort) capture {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // gets nothing yet
	if err != nil {
		t.Skipf("SKIPPED: nothing can be captured here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	const buffer = 64 << 20
	wanted := filterOf(t, addrs)
	for _, err := range []error{
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer),
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, wanted),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: lo.Index}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return capture{fd}
}

func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// filterOf lets through what has a port of addrs as its source or destination.
func filterOf(t *testing.T, addrs []netip.AddrPort) *unix.SockFprog {
	t.Helper()
	program := []bpf.Instruction{bpf.LoadMemShift{Off: 0}} // X is the length of the IP header
	for _, off := range []uint32{0, 2} {
		program = append(program, bpf.LoadIndirect{Off: off, Size: 2})
		for _, a := range addrs {
			program = append(program,
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(a.Port()), SkipTrue: 1}, bpf.RetConstant{Val: 1 << 18})
		}
	}
	raw, err := bpf.Assemble(append(program, bpf.RetConstant{Val: 0}))
	if err != nil {
		t.Fatal(err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
}

// A flow is one direction of a connection.
type flow struct{ from, to netip.AddrPort }

// flows have all that was sent in each.
type flows map[flow][]byte

// at are the flows from and to any of addrs.
func (all flows) at(addrs []netip.AddrPort) flows {
	some := maps.Clone(all)
	maps.DeleteFunc(some, func(f flow, _ []byte) bool { return !slices.Contains(addrs, f.from) && !slices.Contains(addrs, f.to) })
	return some
}

// with counts the flows in which text is.
func (all flows) with(text string) (n int) {
	for _, sent := range all {
		if bytes.Contains(sent, []byte(text)) {
			n++
		}
	}
	return n
}

// flows reads all that was captured.
func (c capture) flows(t *testing.T) flows {
	t.Helper()
	all, next := flows{}, map[flow]uint32{}
	packet := make([]byte, 1<<18)
	for {
		n, from, err := unix.Recvfrom(c.fd, packet, 0)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING { // each comes twice on loopback
			all.add(t, next, packet[:n])
		}
	}
	stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops > 0 {
		t.Fatalf("%d packets were lost, %v", stats.Drops, err)
	}
	return all
}

// add puts what a packet carries behind what its flow has. What is sent anew is left
// out.
func (all flows) add(t *testing.T, next map[flow]uint32, packet []byte) {
	t.Helper()
	const syn = 2
	ip := packet[:binary.BigEndian.Uint16(packet[2:])]
	tcp := ip[4*(ip[0]&15):]
	addr := func(at, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[at:])), binary.BigEndian.Uint16(tcp[port:]))
	}
	f, seq, data := flow{addr(12, 0), addr(16, 2)}, binary.BigEndian.Uint32(tcp[4:]), tcp[4*(tcp[12]>>4):]
	want, begun := next[f]
	switch {
	case tcp[13]&syn != 0:
		next[f] = seq + 1
		return
	case len(data) == 0, begun && int32(seq-want) < 0:
		return
	case !begun || seq != want:
		t.Errorf("%s → %s: what is before %d was not captured", f.from, f.to, seq)
	}
	all[f] = append(all[f], data...)
	next[f] = seq + uint32(len(data))
}
