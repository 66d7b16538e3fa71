package codec

import (
	"net/netip"
	"strconv"
	"strings"
)

// A Class is a set of kinds of bytes.
type Class uint8

// The kinds.
const (
	Token  Class = 1 << iota // RFC 9110, section 5.6.2
	Value                    // field-content: visible, space, tab, and over 0x7f
	Target                   // visible ASCII but for "#", which ends a target, and "\"
	Host                     // of a reg-name (RFC 3986), but for ",", which makes lists
	Digit
	Lower // a token's bytes but for upper-case letters: a field name's in HTTP/2
)

const (
	digits = "0123456789"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	marks  = "!#$%&'*+-.^_`|~"
)

var classes = makeClasses() //nolint:gochecknoglobals // a constant table

func makeClasses() (t [256]Class) {
	mark := func(c Class, members string) {
		for i := range len(members) {
			t[members[i]] |= c
		}
	}
	mark(Digit, digits)
	mark(Token, digits+lower+upper+marks)
	mark(Lower, digits+lower+marks)
	mark(Host, digits+lower+upper+"-._~%!$&'()*+;=")
	for c := range 256 {
		visible := c > ' ' && c < 0x7f
		if visible || c == ' ' || c == '\t' || c > 0x7f {
			t[c] |= Value
		}
		if visible && c != '#' && c != '\\' {
			t[c] |= Target
		}
	}
	return t
}

// All reports whether every byte of s is of that kind.
func All(s string, c Class) bool {
	for i := range len(s) {
		if classes[s[i]]&c == 0 {
			return false
		}
	}
	return true
}

// ParseLength reads a content-length: digits and nothing else. Eighteen of them
// fit an int64.
func ParseLength(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 || !All(s, Digit) {
		return 0, false
	}
	for i := range len(s) {
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// Quoted is how an error repeats what came over the wire.
func Quoted(s string) string { return strconv.Quote(s[:min(len(s), 64)]) }

// ValidAuthority reports whether a is one host with perhaps a port (RFC 3986,
// section 3.2.2), without userinfo, which no proxy may trust.
func ValidAuthority(a string) bool {
	host, port, ok := splitAuthority(a)
	return ok && host != "" && validPort(port)
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
		return a[:end+1], a[end+1:], err == nil && ip.Is6() && All(ip.Zone(), Host)
	}
	host = a
	if i := strings.IndexByte(a, ':'); i >= 0 {
		host, port = a[:i], a[i:]
	}
	return host, port, All(host, Host)
}

// validPort reports whether s is empty, or a colon with at most 65535.
func validPort(s string) bool {
	if s == "" {
		return true
	}
	return s[0] == ':' && len(s) <= 6 && All(s[1:], Digit) && (len(s) < 6 || s[1:] <= "65535")
}
