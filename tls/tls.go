// Package tls holds this workload's identity: how it is certified, whom it trusts,
// and mutual TLS by both. It is not for certificates of anybody else, nor does it
// know who may do what. Read ID first, then Store.
package tls

// An ID is what a certificate proves: a DNS name without its trailing dot, in
// lower case, or an absolute URI such as a SPIFFE ID. The zero ID means that
// nothing was proved, and is never equal to a peer's.
type ID string
