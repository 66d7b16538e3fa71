package h1

import (
	"bytes"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
)

// A dechunker finds the data in a chunked content (RFC 9112, section 7.1).
type dechunker struct {
	left       int64 // of the chunk in hand
	needCRLF   bool  // its data is over, its CRLF has not come
	extensions int   // bytes of them so far, over all chunks
}

const (
	sizeDigits    = 15      // at most; more than any chunk has, and they fit an int64
	maxExtension  = 256     // bytes in one chunk's line
	maxExtensions = 4 << 10 // bytes in all of a content's
)

// next reads the line ahead of the next chunk's data from b. It returns how many
// bytes that took, zero if more are needed. The content is over if last is true:
// its trailer follows.
func (d *dechunker) next(b []byte) (n int, last bool, err error) {
	if d.needCRLF {
		switch {
		case len(b) > 0 && b[0] != '\r', len(b) > 1 && b[1] != '\n':
			return 0, false, malformed("chunk not followed by CRLF")
		case len(b) < 2:
			return 0, false, nil
		}
		n = 2
	}
	i, err := d.line(b[n:])
	if err != nil || i == 0 {
		return 0, false, err
	}
	d.needCRLF = d.left > 0
	return n + i, d.left == 0, nil
}

// line reads a chunk's size and skips its extensions.
func (d *dechunker) line(b []byte) (int, error) {
	digits, size := 0, int64(0)
	for digits < len(b) && digits <= sizeDigits {
		v, ok := hex(b[digits])
		if !ok {
			break
		}
		size = size<<4 | int64(v)
		digits++
	}
	switch {
	case digits > sizeDigits:
		return 0, malformed("chunk size of more than %d digits", sizeDigits)
	case digits == len(b):
		return 0, nil
	case digits == 0:
		return 0, malformed("invalid chunk size %s", codec.Quoted(b))
	}
	ext := b[digits:]
	end := bytes.IndexByte(ext, '\n')
	if err := checkExtension(ext, end); err != nil || end < 0 {
		return 0, err
	}
	if d.extensions += end - 1; d.extensions > maxExtensions {
		return 0, malformed("more than %d bytes of chunk extensions", maxExtensions)
	}
	d.left = size
	return digits + end + 1, nil
}

// checkExtension refuses what is not a CRLF, or an extension and a CRLF. The
// line feed is at end, or has not come if that is negative.
func checkExtension(ext []byte, end int) error {
	line := ext
	if end >= 0 {
		line = ext[:end]
	}
	n := len(line)
	switch {
	case n > 0 && line[n-1] == '\r':
		line = line[:n-1]
	case end >= 0:
		return malformed("chunk size line ends in a bare LF")
	}
	if len(line) > maxExtension {
		return malformed("chunk extension of more than %d bytes", maxExtension)
	}
	if len(line) > 0 && line[0] != ';' {
		return malformed("invalid chunk size line")
	}
	for _, c := range line {
		if !codec.Value.Has(c) {
			return malformed("control character in a chunk extension")
		}
	}
	return nil
}

func hex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	default:
		return 0, false
	}
}
