package h1

import (
	"io"
	"strings"
)

// readTrailer reads what follows the last chunk. It returns nil if more is needed.
func (b *body) readTrailer() error {
	u := b.in.unread()
	end := 0
	switch {
	case len(u) >= 2 && u[0] == '\r' && u[1] == '\n':
		b.in.r += 2
		return io.EOF
	case len(u) >= 2:
		var err error
		if end, err = headEnd(u, 0); err != nil {
			return b.wrap(err)
		}
	}
	if end > b.params.HeadBytes || end == 0 && len(u) > b.params.HeadBytes {
		return b.wrap(tooLarge("trailer of more than %d bytes", b.params.HeadBytes))
	}
	if end == 0 {
		return nil
	}
	if err := b.in.parser.lines(u, 0, b.params.Fields); err != nil {
		return b.wrap(err)
	}
	b.in.parser.fields(&b.trailer, string(u[:end]))
	b.trailer.DelFunc(func(name, _ string) bool { return forbiddenTrailer(name) })
	b.in.r += end
	return io.EOF
}

// forbiddenTrailer reports whether a field frames, routes, authenticates or
// describes its message, or is the mesh's own: a trailer must not carry it
// (RFC 9110, section 6.5.1).
func forbiddenTrailer(name string) bool {
	switch name {
	case "transfer-encoding", "content-length", "host", "connection", "keep-alive", "proxy-connection", "te",
		"trailer", "upgrade", "expect", "content-encoding", "content-type", "content-range", "cache-control",
		"max-forwards", "pragma", "range", "authorization", "proxy-authorization", "proxy-authenticate",
		"www-authenticate", "set-cookie", "cookie", "age", "date", "expires", "location", "retry-after", "vary":
		return true
	}
	return strings.HasPrefix(name, "l5d-") || strings.HasPrefix(name, "l5d_")
}

// trailerAtHand reports whether u holds the whole of what follows the last chunk,
// or enough of it to be refused.
func trailerAtHand(u []byte) bool {
	if len(u) >= 2 && u[0] == '\r' && u[1] == '\n' {
		return true
	}
	end, err := headEnd(u, 0)
	return err != nil || end > 0
}
