package tls

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
)

// The alternative names of RFC 5280, section 4.2.1.6, that can be identities, by
// the tags of their choices.
const (
	tagDNS = 2
	tagURI = 6
)

// maxSANs bounds how many names of one certificate are looked at. A workload's
// has one.
const maxSANs = 100

var errSANs = errors.New("the subject alternative names are not DER")

// identities returns what leaf proves, in the order in which leaf says it. Names
// of other kinds, and those that are no identity, are passed over.
//
// crypto/x509 has the names too, but sorts them by kind, and the first is who a
// client is.
func identities(leaf *x509.Certificate) []ID {
	for _, e := range leaf.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			ids, _ := parseSANs(e.Value) // crypto/x509 has refused what is not DER
			return ids
		}
	}
	return nil
}

// parseSANs reads the value of the extension. Of one that is not DER nothing is
// believed.
func parseSANs(der []byte) ([]ID, error) {
	var names asn1.RawValue
	rest, err := asn1.Unmarshal(der, &names)
	if err != nil || len(rest) > 0 || names.Class != asn1.ClassUniversal || names.Tag != asn1.TagSequence || !names.IsCompound {
		return nil, errSANs
	}
	var ids []ID
	for rest, n := names.Bytes, 0; len(rest) > 0; n++ {
		if n == maxSANs {
			return nil, errSANs
		}
		var name asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &name); err != nil {
			return nil, errSANs
		}
		if id, ok := sanID(name); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// sanID is one name, if it is an identity. Each kind stands for itself: a URI in
// the place of a DNS name is none.
func sanID(name asn1.RawValue) (ID, bool) {
	if name.Class != asn1.ClassContextSpecific || name.IsCompound {
		return "", false
	}
	s := string(name.Bytes)
	switch name.Tag {
	case tagDNS:
		if !dnsName(s) {
			return "", false
		}
	case tagURI:
		if !absoluteURI(s) {
			return "", false
		}
	default:
		return "", false
	}
	id, err := ParseID(s)
	return id, err == nil
}

// identity returns who leaf says its bearer is, "" if nobody.
func identity(leaf *x509.Certificate) ID {
	if ids := identities(leaf); len(ids) > 0 {
		return ids[0]
	}
	return ""
}
