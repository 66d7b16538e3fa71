// Package tls holds this workload's identity and, once it is built, mutual TLS
// by it. It is not for certificates of anybody else. Read ID first.
package tls

// An ID is what a certificate proves: a DNS name without its trailing dot, in
// lower case, or an absolute URI such as a SPIFFE ID. The zero ID means that
// nothing was proved, and is never equal to a peer's.
type ID string
