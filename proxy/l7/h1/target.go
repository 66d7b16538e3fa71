package h1

import (
	"net/netip"
	"strings"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// parseTarget sets r's Form, Scheme, Authority and Path (RFC 9112, section 3.2).
func parseTarget(target string, r *stack.Request) error {
	r.Scheme, r.Path = "http", target
	switch {
	case r.Method == "CONNECT":
		r.Form, r.Authority, r.Path = stack.AuthorityForm, target, ""
		if r.Version != stack.HTTP11 {
			return malformed("CONNECT in HTTP/1.0")
		}
		if target == "*" { // else a host of that name
			return malformed("target \"*\" with method \"CONNECT\"")
		}
		return checkAuthority(target)
	case target[0] == '/':
		r.Form = stack.OriginForm
		return nil
	case target == "*":
		r.Form = stack.AsteriskForm
		if r.Method != "OPTIONS" {
			return malformed("target \"*\" with method %q", clip([]byte(r.Method)))
		}
		return nil
	}
	return parseAbsolute(target, r)
}

// parseAbsolute is parseTarget for a target with a scheme and an authority.
func parseAbsolute(target string, r *stack.Request) error {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return malformed("invalid target %q", clip([]byte(target)))
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.Form, r.Scheme, r.Authority, r.Path = stack.AbsoluteForm, scheme, rest[:end], rest[end:]
	return checkAuthority(r.Authority)
}

// checkAuthority refuses what is not one host with perhaps a port (RFC 3986,
// section 3.2.2), an empty host, and userinfo, which no proxy may trust.
func checkAuthority(a string) error {
	host, port, ok := splitAuthority(a)
	if !ok || !validPort(port) {
		return malformed("invalid host %q", clip([]byte(a)))
	}
	if host == "" {
		return malformed("empty host")
	}
	return nil
}

// splitAuthority returns a's host, and its port with the colon ahead of it. It
// reports whether the host is a name or an address in brackets.
func splitAuthority(a string) (host, port string, ok bool) {
	if strings.HasPrefix(a, "[") {
		end := strings.IndexByte(a, ']')
		if end < 0 {
			return "", "", false
		}
		ip, err := netip.ParseAddr(a[1:end])
		return a[:end+1], a[end+1:], err == nil && ip.Is6() && all(ip.Zone(), hostByte)
	}
	host = a
	if i := strings.IndexByte(a, ':'); i >= 0 {
		host, port = a[:i], a[i:]
	}
	return host, port, all(host, hostByte)
}

// validPort reports whether s is empty, or a colon with at most 65535.
func validPort(s string) bool {
	if s == "" {
		return true
	}
	return s[0] == ':' && len(s) <= 6 && all(s[1:], digitByte) && (len(s) < 6 || s[1:] <= "65535")
}
