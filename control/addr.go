package control

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// An Addr is where a control-plane service is, as LINKERD2_PROXY_*_SVC_ADDR
// gives it: "ip:port" or "dns-name:port". It is comparable.
type Addr struct {
	Host string // an IP address without brackets, or a DNS name, whose final dot is kept
	Port uint16 // never zero
}

// ParseAddr reads "10.0.0.1:8086", "[::1]:8086", "name:8086" or "name.:8086".
// The error names s and what is wrong with it.
func ParseAddr(s string) (Addr, error) {
	host, digits, err := net.SplitHostPort(s)
	if err != nil {
		return Addr{}, fmt.Errorf("control address %q: not host:port", s)
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 {
		return Addr{}, fmt.Errorf("control address %q: port %q is not a number from 1 to 65535", s, digits)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		if err := checkName(host); err != nil {
			return Addr{}, fmt.Errorf("control address %q: %w", s, err)
		}
	}
	return Addr{Host: host, Port: uint16(port)}, nil
}

// String returns a as ParseAddr reads it.
func (a Addr) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// Loopback reports whether a is this machine by its form alone: 127.0.0.0/8, ::1
// or the absolute name "localhost.". Services there are spoken to in the clear
// and without limits on their streams.
func (a Addr) Loopback() bool {
	if ip, ok := a.ip(); ok {
		return ip.IsLoopback()
	}
	return strings.EqualFold(a.Host, "localhost.")
}

// ip returns the address that a spells out, if it is not a name.
func (a Addr) ip() (netip.Addr, bool) {
	ip, err := netip.ParseAddr(a.Host)
	return ip.Unmap(), err == nil
}

// authority is what a request to a says in :authority. The reference drops the
// final dot of a name, and the port if that is plain HTTP's own.
func (a Addr) authority() string {
	a.Host = strings.TrimSuffix(a.Host, ".")
	if a.Port != 80 {
		return a.String()
	}
	if strings.Contains(a.Host, ":") {
		return "[" + a.Host + "]"
	}
	return a.Host
}

// The limits of RFC 1035, section 2.3.4, in characters as written.
const (
	maxName  = 253
	maxLabel = 63
)

// checkName tells what keeps name from being a DNS name. The underscore is let
// through, as resolvers do.
func checkName(name string) error {
	name = strings.TrimSuffix(name, ".")
	if name == "" {
		return errors.New("the host is empty")
	}
	if len(name) > maxName {
		return fmt.Errorf("the name is %d characters long, over %d", len(name), maxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return fmt.Errorf("%q is not a label of a DNS name", label)
		}
	}
	return nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	for _, c := range []byte(label) {
		if !labelByte(c) {
			return false
		}
	}
	return true
}

func labelByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
