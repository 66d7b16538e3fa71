package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/outrigger-mesh/outrigger/profiles"
)

// The reasons for which a named listener is refused.
var (
	errNamed       = errors.New("it is not listenIP:port=target")
	errNamedPort   = errors.New("the target has port 0")
	errNamedTarget = errors.New("the target is neither ip:port nor name:port")
	errNamedAny    = errors.New("the target is not one address")
)

// parseNamed reads a list of listenIP:port=target, in which target is ip:port or
// name:port. An empty list is none.
func parseNamed(s string) ([]NamedListener, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var named []NamedListener
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		n, err := parseNamedListener(part)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quoted(part), err)
		}
		named = append(named, n)
	}
	return named, nil
}

func parseNamedListener(s string) (NamedListener, error) {
	listen, target, ok := strings.Cut(s, "=")
	if !ok {
		return NamedListener{}, errNamed
	}
	addr, err := parseSocketAddr(listen)
	if err != nil {
		return NamedListener{}, fmt.Errorf("listen address: %w", err)
	}
	t, err := parseTarget(target)
	return NamedListener{Listen: addr, Target: t}, err
}

// parseTarget reads a destination. Its name comes back in lower case and
// without a final dot, as package profiles wants it.
func parseTarget(s string) (profiles.Target, error) {
	if a, err := netip.ParseAddrPort(s); err == nil {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		switch {
		case a.Port() == 0:
			return profiles.Target{}, errNamedPort
		case a.Addr().IsUnspecified(), a.Addr().IsMulticast():
			return profiles.Target{}, errNamedAny
		}
		return profiles.Target{Addr: a}, nil
	}
	host, port, ok := cutLast(s, ":")
	if !ok {
		return profiles.Target{}, errNamedTarget
	}
	n, err := parsePort(port)
	if err != nil {
		return profiles.Target{}, fmt.Errorf("target: %w", err)
	}
	name, err := parseDNSName(host)
	switch {
	case err != nil:
		return profiles.Target{}, fmt.Errorf("%w: %w", errNamedTarget, err)
	case n == 0:
		return profiles.Target{}, errNamedPort
	}
	return profiles.Target{Name: strings.TrimSuffix(name, "."), Port: n}, nil
}

// cutLast is strings.Cut at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
