package tls

import "errors"

// The reasons for which there is no connection. An error wraps one of them, or
// says what crypto/tls or the network said.
var (
	// ErrNoIdentity means that this workload has no certificate yet.
	ErrNoIdentity = errors.New("this workload has not been certified yet")
	// ErrExpired means that this workload's certificate has run out.
	ErrExpired = errors.New("this workload's certificate has expired")

	// ErrPeerRefused means that the peer's certificate is not good: no anchor
	// vouches for it, or not now, or not for this use.
	ErrPeerRefused = errors.New("the peer's certificate is refused")
	// ErrWrongID means that a server is not who was meant.
	ErrWrongID = errors.New("certificate does not match TLS identity")
	// ErrNoClientID means that a client has not proved who it is where it must.
	ErrNoClientID = errors.New("connections must be mutually authenticated")
	// ErrNoALPN means that a client has not asked for what is spoken here.
	ErrNoALPN = errors.New("connections require protocol negotiation")

	// ErrTruncated means that the peer has closed the connection below TLS, so
	// that nothing proves that all it sent has arrived.
	ErrTruncated = errors.New("closed without close_notify")

	errResumed = errors.New("a session was resumed, which is never offered")
)
