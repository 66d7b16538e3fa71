package local

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// String returns h as the control plane's API writes it, "name:port".
func (h host) String() string { return h.name + ":" + strconv.Itoa(int(h.port)) }

// defaultPort is what the controllers assume of a name without one.
const defaultPort = 80

// errIP means that an IP address stands where only a name may.
var errIP = errors.New("is an IP address, not a name")

// parseHost reads "name" or "name:port". A missing port is byDefault.
func parseHost(s string, byDefault uint16) (host, error) {
	name, digits, given := cutPort(s)
	h := host{port: byDefault}
	if given {
		port, err := parsePort(digits)
		if err != nil {
			return host{}, fmt.Errorf("%q: %w", s, err)
		}
		h.port = port
	}
	var err error
	if h.name, err = parseName(name); err != nil {
		return host{}, fmt.Errorf("%q: %w", s, err)
	}
	return h, nil
}

// cutPort splits at the last colon; one within an IPv6 address's brackets, or
// without brackets, is none.
func cutPort(s string) (name, port string, given bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") || isIP(s) {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil
}

func parsePort(digits string) (uint16, error) {
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("port %q is not a number from 1 to 65535", digits)
	}
	return uint16(port), nil
}

// The limits of RFC 1035, section 2.3.4, in characters as written.
const (
	maxName  = 253
	maxLabel = 63
)

// parseName reads a DNS name: in lower case, without its final dot.
func parseName(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	switch {
	case name == "":
		return "", errors.New("the name is empty")
	case isIP(name):
		return "", errIP
	case len(name) > maxName:
		return "", fmt.Errorf("the name is %d characters long, over %d", len(name), maxName)
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) {
			return "", fmt.Errorf("%q is not a label of a DNS name", label)
		}
	}
	return name, nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
