package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// The lengths of RFC 1035, section 2.3.4, as written.
const (
	maxDNSName  = 253
	maxDNSLabel = 63
)

// The reasons for which a name is refused.
var (
	errDNSLong     = errors.New("it is longer than a DNS name may be, 253 characters")
	errDNSDigits   = errors.New("the last label of a DNS name may not be a number")
	errIdentity    = errors.New("it is neither a DNS name without a final dot nor an absolute URI")
	errIdentityDot = errors.New("an identity has no final dot")
)

// parseDNSName reads a name as certificates have it: underscores are let through
// and a final dot is kept. It gives it back in lower case.
func parseDNSName(s string) (string, error) {
	if len(s) > maxDNSName {
		return "", errDNSLong
	}
	name := strings.ToLower(s)
	var last string
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if !validLabel(label) {
			return "", fmt.Errorf("%s is not a label of a DNS name", quoted(label))
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" {
		return "", errDNSDigits
	}
	return name, nil
}

func validLabel(label string) bool {
	if label == "" || len(label) > maxDNSLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// parseSuffixes reads names in which "." is the root. It gives them back without
// their final dots, which do not matter to a suffix.
func parseSuffixes(s string) ([]string, error) {
	var suffixes []string
	for part := range listed(s) {
		if part == "." {
			suffixes = append(suffixes, part)
			continue
		}
		name, err := parseDNSName(part)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quoted(part), err)
		}
		suffixes = append(suffixes, strings.TrimSuffix(name, "."))
	}
	return suffixes, nil
}

// parseIdentity reads what a certificate proves.
func parseIdentity(s string) (string, error) {
	if name, err := parseDNSName(s); err == nil {
		if strings.HasSuffix(name, ".") {
			return "", errIdentityDot
		}
		return name, nil
	}
	u, err := url.Parse(s)
	if err != nil || !u.IsAbs() || u.Host == "" && u.Opaque == "" && u.Path == "" {
		return "", errIdentity
	}
	return s, nil
}

// parseIdentities reads a list of identities.
func parseIdentities(s string) ([]string, error) {
	var ids []string
	for part := range listed(s) {
		id, err := parseIdentity(part)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quoted(part), err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}
