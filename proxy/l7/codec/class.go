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

// Has reports whether b is of that kind.
func (c Class) Has(b byte) bool { return classes[b]&c != 0 }

// All reports whether every byte of s is of that kind.
func All[T string | []byte](s T, c Class) bool {
	for i := range len(s) {
		if !c.Has(s[i]) {
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
func Quoted[T string | []byte](s T) string { return strconv.Quote(string(s[:min(len(s), 64)])) }

// ValidAuthority reports whether a is one host with perhaps a port (RFC 3986,
// section 3.2.2), without userinfo, which no proxy may trust.
func ValidAuthority(a string) bool {
	host, ok := HostOf(a)
	return ok && host != ""
}

// HostOf returns the host of a, a name or an address in brackets, which may be
// empty. It reports whether a is such a host with perhaps a port, and nothing else.
func HostOf(a string) (host string, ok bool) {
	if strings.HasPrefix(a, "[") {
		return literal(a)
	}
	host, port := a, ""
	if i := strings.IndexByte(a, ':'); i >= 0 {
		host, port = a[:i], a[i:]
	}
	return host, All(host, Host) && validPort(port)
}

// literal is HostOf for an address in brackets.
func literal(a string) (host string, ok bool) {
	end := strings.IndexByte(a, ']')
	if end < 0 {
		return "", false
	}
	ip, err := netip.ParseAddr(a[1:end])
	return a[:end+1], err == nil && ip.Is6() && All(ip.Zone(), Host) && validPort(a[end+1:])
}

// validPort reports whether s is empty, or a colon with at most 65535.
func validPort(s string) bool {
	if s == "" {
		return true
	}
	return s[0] == ':' && len(s) <= 6 && All(s[1:], Digit) && (len(s) < 6 || s[1:] <= "65535")
}
