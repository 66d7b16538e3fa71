package tls

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// The lengths of RFC 1035, section 2.3.4, as written, and of the SPIFFE ID
// specification, section 2.3, which serves for all URIs.
const (
	maxName  = 253
	maxLabel = 63
	maxURI   = 2048
)

var (
	errNotID    = errors.New("it is neither a DNS name without a final dot nor an absolute URI")
	errFinalDot = errors.New("an identity has no final dot")
)

// ParseID reads an identity: a DNS name, or else an absolute URI. A DNS name is
// given back in lower case, and may not end in a dot.
func ParseID(s string) (ID, error) {
	if dnsName(strings.TrimSuffix(s, ".")) {
		if strings.HasSuffix(s, ".") {
			return "", fmt.Errorf("identity %q: %w", s, errFinalDot)
		}
		return ID(strings.ToLower(s)), nil
	}
	if !absoluteURI(s) {
		return "", fmt.Errorf("identity %.100q: %w", s, errNotID)
	}
	return ID(s), nil
}

// dnsName reports whether s is a DNS name as identities have it: underscores are
// let through, a number as its last label is not, for that is an address.
func dnsName(s string) bool {
	if len(s) > maxName {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if !dnsLabel(label) {
			return false
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}

func dnsLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"+"abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// absoluteURI reports whether s is a URI with a scheme, in printable ASCII: what
// an identity says goes into logs and labels as it is.
func absoluteURI(s string) bool {
	if len(s) > maxURI {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && (u.Host != "" || u.Opaque != "" || u.Path != "")
}
