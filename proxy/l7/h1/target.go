package h1

import (
	"strings"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
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
			return malformed("target \"*\" with method %s", codec.Quoted(r.Method))
		}
		return nil
	}
	return parseAbsolute(target, r)
}

// parseAbsolute is parseTarget for a target with a scheme and an authority.
func parseAbsolute(target string, r *stack.Request) error {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return malformed("invalid target %s", codec.Quoted(target))
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
	host, ok := codec.HostOf(a)
	if !ok {
		return malformed("invalid host %s", codec.Quoted(a))
	}
	if host == "" {
		return malformed("empty host")
	}
	return nil
}
