package l4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// A Hello is what the first bytes of a connection say of TLS.
type Hello struct {
	TLS  bool     // they are a ClientHello, and the whole of it
	SNI  string   // the DNS name that it asks for, in lower case; "" if none, or no DNS name
	ALPN []string // the protocols that it offers, the one that it likes best first
}

// Why a ClientHello could not be read.
var (
	ErrHelloTimeout = errors.New("TLS detection timed out")
	ErrHelloSize    = errors.New("ClientHello is too long")
)

// The bounds on a ClientHello: the message itself, and with the headers of the
// records that it may come in pieces of. The largest in use, with a post-quantum
// key share, is under 2 KiB.
const (
	maxHello  = 16 << 10
	maxPeeked = maxHello + 1<<10
)

// PeekHello looks for a ClientHello (RFC 8446, section 4.1.2) in the first bytes of
// c, without consuming them. It waits for as long as they may be the beginning of
// one, and no longer: whatever is none ends it at once. So does the end of what the
// client sends.
//
// An error means that nothing can be done with c, which is the caller's to close:
// the timeout passed with the question open, or what says that it is a ClientHello
// is longer than one may be. A timeout of zero means for ever. PeekHello clears c's
// read deadline. To end it early, close c.
func PeekHello(c *stack.Conn, timeout time.Duration) (Hello, error) {
	if timeout > 0 {
		if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
			return Hello{}, fmt.Errorf("detect TLS: %w", err)
		}
		defer func() { _ = c.SetReadDeadline(time.Time{}) }() // fails on a closed connection only
	}
	var s helloScan
	for {
		b, err := c.Peek(s.seen + 1)
		s.seen = len(b)
		switch message, done := s.scan(b); {
		case done:
			return Hello{}, s.err
		case message != nil:
			return helloOf(message), nil
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return Hello{}, fmt.Errorf("%w after %v and %d bytes", ErrHelloTimeout, timeout, s.seen)
		case errors.Is(err, io.EOF):
			return Hello{}, nil // what there is may mean something to somebody
		default:
			return Hello{}, fmt.Errorf("detect TLS: %w", err)
		}
	}
}

// A helloScan follows a ClientHello through the records that it comes in. It looks
// at each of them once, however many reads bring them.
type helloScan struct {
	seen    int                 // bytes that were peeked
	at      int                 // where the record begins that is looked at
	records int                 // before it
	have    int                 // bytes of the message in those
	head    [messageHeader]byte // the message's first
	total   int                 // bytes of the message; zero while head is not whole
	err     error
}

const (
	recordHeader  = 5       // type, version, length
	messageHeader = 4       // type, length
	maxRecord     = 1 << 14 // RFC 8446, section 5.1
)

// scan looks at b, all that was peeked. It returns the message once b has the whole
// of it; done, if there is none to be had.
func (s *helloScan) scan(b []byte) (message []byte, done bool) {
	for s.total == 0 || s.have < s.total {
		record := b[s.at:]
		n, ok := recordLen(record)
		if !ok {
			return nil, true
		}
		if len(record) > recordHeader && !s.begin(record[recordHeader:min(len(record), recordHeader+n)]) {
			return nil, true
		}
		if s.total > 0 && n > s.total-s.have { // nobody says more before he is answered
			return nil, true
		}
		if n == 0 || len(record) < recordHeader+n {
			return nil, s.tooLong(len(b))
		}
		s.have += n
		s.at += recordHeader + n
		s.records++
	}
	return s.join(b[:s.at]), false
}

// begin looks at as much of the message's header as content, which is the record's,
// has. It reports whether that can be a ClientHello's.
func (s *helloScan) begin(content []byte) bool {
	const clientHello = 1
	if s.have >= messageHeader {
		return true
	}
	known := s.have + copy(s.head[s.have:], content)
	switch {
	case s.head[0] != clientHello:
		return false
	case known < messageHeader:
		return true
	}
	n := int(s.head[1])<<16 | int(binary.BigEndian.Uint16(s.head[2:]))
	if n > maxHello {
		s.err = fmt.Errorf("%w: %d bytes, over %d", ErrHelloSize, n, maxHello)
		return false
	}
	s.total = messageHeader + n
	return true
}

// tooLong ends a scan when there are more bytes than a ClientHello and its records
// can have, and still no end to it.
func (s *helloScan) tooLong(n int) bool {
	if n <= maxPeeked {
		return false
	}
	s.err = fmt.Errorf("%w: over %d bytes with its records", ErrHelloSize, maxPeeked)
	return true
}

// recordLen returns the length of the record that b begins with, 0 if it is not
// there yet; not ok if this is no record of a handshake.
func recordLen(b []byte) (n int, ok bool) {
	const handshake = 22
	switch {
	case len(b) > 0 && b[0] != handshake, len(b) > 1 && b[1] != 3, len(b) > 2 && b[2] != 1 && b[2] != 3:
		return 0, false
	case len(b) < recordHeader:
		return 0, true
	}
	n = int(binary.BigEndian.Uint16(b[3:]))
	return n, n > 0 && n <= maxRecord
}

// join returns the message without the records' headers. If one record has it all,
// as is usual, nothing is copied.
func (s *helloScan) join(b []byte) []byte {
	if s.records == 1 {
		return b[recordHeader+messageHeader:]
	}
	message := make([]byte, 0, len(b))
	for len(b) > 0 {
		n := recordHeader + int(binary.BigEndian.Uint16(b[3:]))
		message = append(message, b[recordHeader:n]...)
		b = b[n:]
	}
	return message[messageHeader:]
}

// helloOf reads a ClientHello. What is malformed is none.
func helloOf(message []byte) Hello {
	h := Hello{TLS: true}
	m := vectors(message)
	version, random := m.next(2), m.next(randomBytes)
	session, suites, compression := m.vector8(), m.vector16(), m.vector8()
	if len(random) == 0 || version[0] != 3 || version[1] != 3 ||
		len(session) > maxSession || len(suites) == 0 || len(suites)%2 != 0 || len(compression) == 0 {
		return Hello{}
	}
	if len(m) == 0 {
		return h // without extensions
	}
	extensions := m.vector16()
	if len(m) > 0 || extensions == nil || !h.extend(extensions) {
		return Hello{}
	}
	return h
}

// The sizes of what stands before the extensions (RFC 8446, section 4.1.2).
const (
	randomBytes = 32
	maxSession  = 32
)

// The extensions that are looked at (RFC 6066, section 3; RFC 7301).
const (
	serverName = 0
	protocols  = 16
)

// extend reads the extensions, and reports whether they are well formed. An
// extension stands there once (RFC 8446, section 4.2).
func (h *Hello) extend(all vectors) bool {
	var named, offered bool
	for len(all) > 0 {
		kind, content := all.next(2), all.vector16()
		if content == nil {
			return false
		}
		again, ok := false, true
		switch binary.BigEndian.Uint16(kind) {
		case serverName:
			again, named = named, true
			h.SNI, ok = nameIn(content)
		case protocols:
			again, offered = offered, true
			h.ALPN, ok = protocolsIn(content)
		}
		if again || !ok {
			return false
		}
	}
	return true
}

// nameIn reads a list of server names, in which there is one, of the one kind that
// there is. A name that is no DNS name is as good as none.
func nameIn(content vectors) (name string, ok bool) {
	list := content.vector16()
	kind, host := list.next(1), list.vector16()
	if len(content) > 0 || len(list) > 0 || len(host) == 0 || kind[0] != 0 {
		return "", false
	}
	if _, err := discover.ParseName(string(host)); err != nil {
		return "", true
	}
	return strings.ToLower(string(host)), true
}

func protocolsIn(content vectors) (all []string, ok bool) {
	list := content.vector16()
	if len(content) > 0 || len(list) == 0 {
		return nil, false
	}
	for len(list) > 0 {
		p := list.vector8()
		if len(p) == 0 {
			return nil, false
		}
		all = append(all, string(p))
	}
	return all, true
}

// vectors are what is still to be read of a message. Once something is missing of
// it, everything is.
type vectors []byte

// next takes n bytes. It returns nil if there are fewer.
func (v *vectors) next(n int) vectors {
	if n > len(*v) {
		*v = nil
		return nil
	}
	taken := (*v)[:n:n]
	*v = (*v)[n:]
	return taken
}

// vector8 takes what its first byte says is its length.
func (v *vectors) vector8() vectors {
	n := v.next(1)
	if n == nil {
		return nil
	}
	return v.next(int(n[0]))
}

// vector16 takes what its first two bytes say is its length.
func (v *vectors) vector16() vectors {
	n := v.next(2)
	if n == nil {
		return nil
	}
	return v.next(int(binary.BigEndian.Uint16(n)))
}
