package proxy

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/outrigger-mesh/outrigger/control"
)

// The reasons for which an address is refused.
var (
	errSocketAddr  = errors.New("it is not an address and port, as 127.0.0.1:4140 or [::1]:4140")
	errNotIP       = errors.New("host is not an IP")
	errControlAddr = errors.New("it is neither ip:port nor dns-name:port, with a port from 1 to 65535")
	errTooMany     = errors.New("it has more than two addresses")
)

// listed yields the elements of a list in which blanks and empty elements do not
// count.
func listed(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(s, ",") {
			if part = strings.TrimSpace(part); part != "" && !yield(part) {
				return
			}
		}
	}
}

// parseSocketAddr reads an IP address and a port.
func parseSocketAddr(s string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(s)
	if err == nil {
		return a, nil
	}
	if _, err := control.ParseAddr(s); err == nil {
		return netip.AddrPort{}, errNotIP
	}
	return netip.AddrPort{}, errSocketAddr
}

// parseSocketAddrs reads one address, or two for both families of IP.
func parseSocketAddrs(s string) ([]netip.AddrPort, error) {
	parts := strings.Split(s, ",")
	if len(parts) > 2 {
		return nil, errTooMany
	}
	addrs := make([]netip.AddrPort, len(parts))
	for i, part := range parts {
		var err error
		if addrs[i], err = parseSocketAddr(part); err != nil {
			return nil, fmt.Errorf("%s: %w", quoted(part), err)
		}
	}
	return addrs, nil
}

// parseControlAddr reads an IP address or a DNS name, and a port. What package
// control has to say of a bad one repeats it whole, and it may be long.
func parseControlAddr(s string) (control.Addr, error) {
	a, err := control.ParseAddr(s)
	if err != nil {
		return control.Addr{}, errControlAddr
	}
	if _, err := netip.ParseAddr(a.Host); err == nil {
		return a, nil
	}
	if _, err := parseDNSName(a.Host); err != nil {
		return control.Addr{}, err
	}
	return a, nil
}

// parseIPs reads addresses with commas between them and nothing else.
func parseIPs(s string) ([]netip.Addr, error) {
	var ips []netip.Addr
	for part := range strings.SplitSeq(s, ",") {
		ip, err := netip.ParseAddr(part)
		if err != nil || ip.Zone() != "" {
			return nil, fmt.Errorf("%s is not an IP address", quoted(part))
		}
		if ip = ip.Unmap(); !slices.Contains(ips, ip) {
			ips = append(ips, ip)
		}
	}
	return ips, nil
}

// parseNetworks reads networks as 10.0.0.0/8. An address is a network of one.
func parseNetworks(s string) ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for part := range listed(s) {
		p, err := parseNetwork(part)
		if err != nil {
			return nil, fmt.Errorf("%s is not a network, as 10.0.0.0/8", quoted(part))
		}
		if !slices.Contains(nets, p) {
			nets = append(nets, p)
		}
	}
	return nets, nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return ip.Unmap().WithZone("").Prefix(ip.Unmap().BitLen())
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}
