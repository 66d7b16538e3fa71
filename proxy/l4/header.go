package l4

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// HeaderALPN is the protocol that a client offers in TLS, and a server agrees to,
// if a transport header is to be the first that the client says within it.
const HeaderALPN = "transport.l5d.io/v1"

// A Header is Linkerd's transport header: it says what a connection to a sidecar's
// own port is for.
type Header struct {
	Port    uint16        // of the destination
	Name    string        // of the destination, if it is not the sidecar's workload
	Session stack.Session // what follows: NoSession means bytes
}

// Why a transport header could not be read.
var (
	ErrNoHeader      = errors.New("connection did not include a transport header")
	ErrHeader        = errors.New("invalid transport header")
	ErrHeaderTimeout = errors.New("transport header timed out")
)

// On the wire a header is the preface, four bytes of length, and a protobuf message:
//
//	message Header { int32 port = 1; string name = 2; SessionProtocol session_protocol = 3; }
//	message SessionProtocol { oneof kind { Http1 http1 = 1; Http2 http2 = 2; } }
//
// The last two are empty messages.
const (
	headerPreface = HeaderALPN + "\r\n\r\n"
	headerLength  = 4 // bytes
	maxHeader     = 64<<10 + len(headerPreface) + headerLength

	portField, nameField, sessionField protowire.Number = 1, 2, 3
	http1Kind, http2Kind               protowire.Number = 1, 2
)

// Append appends h to b as it is on the wire.
func (h Header) Append(b []byte) []byte {
	b = append(b, headerPreface...)
	at := len(b)
	b = append(b, make([]byte, headerLength)...)
	if h.Port != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, portField, protowire.VarintType), uint64(h.Port))
	}
	if h.Name != "" {
		b = protowire.AppendString(protowire.AppendTag(b, nameField, protowire.BytesType), h.Name)
	}
	switch h.Session {
	case stack.HTTP1Session:
		b = appendSession(b, http1Kind)
	case stack.HTTP2Session:
		b = appendSession(b, http2Kind)
	case stack.NoSession:
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-headerLength))
	return b
}

// appendSession appends a message of which an empty message is the only field.
func appendSession(b []byte, kind protowire.Number) []byte {
	b = protowire.AppendTag(b, sessionField, protowire.BytesType)
	return protowire.AppendBytes(b, protowire.AppendBytes(protowire.AppendTag(nil, kind, protowire.BytesType), nil))
}

// ReadHeader reads the header that c begins with, and not a byte of what follows
// it. What is none ends it at once. A timeout of zero means for ever; ReadHeader
// clears c's read deadline. After an error nothing can be done with c, which is
// the caller's to close.
func ReadHeader(c *stack.Conn, timeout time.Duration) (Header, error) {
	if timeout > 0 {
		if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
			return Header{}, fmt.Errorf("transport header: %w", err)
		}
		defer func() { _ = c.SetReadDeadline(time.Time{}) }() // fails on a closed connection only
	}
	h, err := readHeader(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return Header{}, fmt.Errorf("%w after %v", ErrHeaderTimeout, timeout)
	}
	return h, err
}

func readHeader(c io.Reader) (Header, error) {
	var first [len(headerPreface) + headerLength]byte
	for n := 0; n < len(first); {
		m, err := c.Read(first[n:])
		n += m
		if seen := string(first[:min(n, len(headerPreface))]); !strings.HasPrefix(headerPreface, seen) {
			return Header{}, fmt.Errorf("%w: it begins with %q", ErrNoHeader, seen)
		}
		if err := missing(err, n == len(first), ErrNoHeader); err != nil {
			return Header{}, err
		}
	}
	n := binary.BigEndian.Uint32(first[len(headerPreface):])
	if n > uint32(maxHeader) {
		return Header{}, fmt.Errorf("%w: %d bytes, over %d", ErrHeader, n, maxHeader)
	}
	message := make([]byte, n)
	m, err := io.ReadFull(c, message)
	if err := missing(err, m == len(message), ErrHeader); err != nil {
		return Header{}, err
	}
	return parseHeader(message)
}

// missing returns what to make of a read's err. The end of the connection, unless
// all has been read, is what.
func missing(err error, all bool, what error) error {
	switch {
	case err == nil, all:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ended early", what)
	default:
		return fmt.Errorf("transport header: %w", err)
	}
}

// parseHeader reads the message. Fields that it does not know are for others.
func parseHeader(b []byte) (Header, error) {
	var h Header
	port := int32(0)
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return Header{}, err
		}
		switch b = rest; f.number {
		case portField:
			port, err = int32(f.number64), f.is(protowire.VarintType)
		case nameField:
			h.Name, err = string(f.content), f.is(protowire.BytesType)
		case sessionField:
			err = errors.Join(f.is(protowire.BytesType), h.parseSession(f.content))
		default: // somebody else's
		}
		if err != nil {
			return Header{}, err
		}
	}
	if port <= 0 || port > math.MaxUint16 {
		return Header{}, fmt.Errorf("%w: port %d", ErrHeader, port)
	}
	h.Port = uint16(port)
	if h.Name == "" {
		return h, nil
	}
	name, err := discover.ParseName(h.Name)
	if err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	h.Name = name
	return h, nil
}

// parseSession reads a SessionProtocol. Of several kinds the last counts; one that
// is not known is as good as none: the bytes are then passed on as such.
func (h *Header) parseSession(b []byte) error {
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return err
		}
		switch b = rest; f.number {
		case http1Kind:
			h.Session, err = stack.HTTP1Session, f.isEmptyMessage()
		case http2Kind:
			h.Session, err = stack.HTTP2Session, f.isEmptyMessage()
		default: // somebody else's
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A field is one of a protobuf message.
type field struct {
	number   protowire.Number
	kind     protowire.Type
	number64 uint64 // of a varint
	content  []byte // of bytes
}

// nextField reads the field that b begins with, and returns what follows it.
func nextField(b []byte) (field, []byte, error) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return field{}, nil, fmt.Errorf("%w: %w", ErrHeader, protowire.ParseError(n))
	}
	f := field{number: number, kind: kind}
	b = b[n:]
	switch kind {
	case protowire.VarintType:
		f.number64, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.content, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(number, kind, b)
	}
	if n < 0 {
		return field{}, nil, fmt.Errorf("%w: %w", ErrHeader, protowire.ParseError(n))
	}
	return f, b[n:], nil
}

// is refuses a field that is known, and is of another kind than kind.
func (f *field) is(kind protowire.Type) error {
	if f.kind != kind {
		return fmt.Errorf("%w: field %d is of wire type %d", ErrHeader, f.number, f.kind)
	}
	return nil
}

// isEmptyMessage refuses what is no message. What stands in it is for others.
func (f *field) isEmptyMessage() error {
	if err := f.is(protowire.BytesType); err != nil {
		return err
	}
	for b := f.content; len(b) > 0; {
		_, rest, err := nextField(b)
		if err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// Headed writes a transport header to the connections that it dials, before anybody
// else writes: h, with the session that is dialled for. A connection on which the
// server did not agree to one (HeaderALPN) is left alone. The dial's context bounds
// the write.
func Headed(h Header) stack.Layer[stack.Dialer] {
	return func(next stack.Dialer) stack.Dialer {
		return func(ctx context.Context, s stack.Session) (*stack.Conn, error) {
			c, err := next(ctx, s)
			if err != nil || c.Secured == nil || c.Secured.ALPN != HeaderALPN {
				return c, err
			}
			h := h
			h.Session = s
			if err := writeHeader(ctx, c, h); err != nil {
				_ = c.Close()
				return nil, fmt.Errorf("transport header to %s: %w: %w", c.OrigDst, err, stack.ErrUnsent)
			}
			return c, nil
		}
	}
}

func writeHeader(ctx context.Context, c *stack.Conn, h Header) error {
	stop := context.AfterFunc(ctx, func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := c.Write(h.Append(nil))
	if !stop() { // the deadline is set, or about to be
		return context.Cause(ctx)
	}
	return err
}

// HeadedTo returns the header for connections to e, and the address that they are
// opened to: that of e's own sidecar, if it says where that is. It is not wanted if
// e is one that is not reached in this way; offer HeaderALPN to those alone for
// which it is.
func HeadedTo(e discover.Endpoint) (h Header, at netip.AddrPort, wanted bool) {
	if e.ID == "" {
		return Header{}, e.Addr, false
	}
	h, at = Header{Port: e.Addr.Port()}, e.Addr
	if e.InboundPort != 0 {
		at = netip.AddrPortFrom(e.Addr.Addr(), e.InboundPort)
	}
	if name, port, err := net.SplitHostPort(e.Authority); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n != 0 {
			h.Name, h.Port = name, uint16(n)
		}
	}
	return h, at, e.InboundPort != 0 || e.Authority != ""
}

// Within bounds what it takes to open a connection, with TLS and header: beyond
// timeout it fails with ErrConnectTimeout.
func Within(timeout time.Duration) stack.Layer[stack.Dialer] {
	late := fmt.Errorf("%w after %v", ErrConnectTimeout, timeout)
	return func(next stack.Dialer) stack.Dialer {
		return func(ctx context.Context, s stack.Session) (*stack.Conn, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, timeout, late)
			defer cancel()
			c, err := next(ctx, s)
			if err != nil && errors.Is(context.Cause(ctx), late) && !errors.Is(err, late) {
				return nil, fmt.Errorf("%w: %w: %w", late, err, stack.ErrUnsent)
			}
			return c, err
		}
	}
}
