package control

import "time"

// An Observer counts what a Client does. Its methods are called by several
// goroutines at once and must not block. client is a Config's Name, addr its
// Addr.
type Observer interface {
	// Resolution is one lookup: the families control_dns_resolutions_total. record
	// is "SRV" or "A/AAAA"; ok is false for every failure.
	Resolution(client, record string, ok bool)
	// Request is a call that begins: control_request_total.
	Request(client, addr string)
	// Response is a call that has ended: control_response_total and
	// control_response_latency_ms. code is its gRPC status; latency is until the
	// first message, or until the end if there was none.
	Response(client, addr string, code uint32, latency time.Duration)
}

type unobserved struct{}

func (unobserved) Resolution(string, string, bool)                {}
func (unobserved) Request(string, string)                         {}
func (unobserved) Response(string, string, uint32, time.Duration) {}
