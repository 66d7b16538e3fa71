package h2

import (
	"errors"
	"fmt"

	"golang.org/x/net/http2/hpack"
)

// A decoder decodes the header blocks that come on one connection (RFC 7541).
type decoder struct{ table table }

func newDecoder() decoder { return decoder{table{most: hpackTable}} }

// What is wrong with a block.
var (
	errCutShort   = errors.New("header block ends amid a field")
	errNumber     = errors.New("number does not fit")
	errSizeUpdate = errors.New("table size update amid a header block")
)

// decode gives b each field of a whole header block.
func (d *decoder) decode(p []byte, b *block) error {
	for begun := false; len(p) > 0; {
		var err error
		switch c := p[0]; {
		case c&0x80 != 0:
			p, err = d.indexed(p, b)
		case c&0x40 != 0:
			p, err = d.literal(p, b, 6, true, false)
		case c&0x20 != 0 && begun:
			return errSizeUpdate
		case c&0x20 != 0:
			p, err = d.sizeUpdate(p)
			begun = false
			if err != nil {
				return err
			}
			continue
		default:
			p, err = d.literal(p, b, 4, false, c&0x10 != 0)
		}
		if err != nil {
			return err
		}
		begun = true
	}
	return nil
}

// sizeUpdate changes the table's size, within what we have said that it may be.
func (d *decoder) sizeUpdate(p []byte) ([]byte, error) {
	n, p, err := readNumber(p, 5)
	if err != nil {
		return nil, err
	}
	if n > hpackTable {
		return nil, fmt.Errorf("table size %d is over the limit", n)
	}
	d.table.resize(int(n))
	return p, nil
}

func (d *decoder) indexed(p []byte, b *block) ([]byte, error) {
	n, p, err := readNumber(p, 7)
	if err != nil {
		return nil, err
	}
	e := d.at(n)
	if e == nil {
		return nil, noEntry(n)
	}
	b.add(e, false)
	return p, nil
}

// at returns the entry with that index of both tables, or nil.
func (d *decoder) at(i uint64) *entry {
	switch {
	case i == 0:
		return nil
	case i <= staticCount:
		return &static[i]
	default:
		return d.table.at(i - staticCount)
	}
}

func noEntry(i uint64) error { return fmt.Errorf("no table entry has the index %d", i) }

// literal reads a field of which the value, and perhaps the name, is spelled out.
func (d *decoder) literal(p []byte, b *block, bits uint, keep, sensitive bool) ([]byte, error) {
	n, p, err := readNumber(p, bits)
	if err != nil {
		return nil, err
	}
	var e entry
	if n > 0 {
		named := d.at(n)
		if named == nil {
			return nil, noEntry(n)
		}
		e.name = named.name
	} else if e.name, p, err = readString(p); err != nil {
		return nil, err
	}
	if e.value, p, err = readString(p); err != nil {
		return nil, err
	}
	e.kind = kindOf(e.name, e.value)
	b.add(&e, sensitive)
	if keep {
		d.table.insert(e)
	}
	return p, nil
}

// maxNumber is more than any index or length that can be right.
const maxNumber = 1 << 24

// readNumber reads a number whose prefix has so many bits (RFC 7541, section 5.1).
func readNumber(p []byte, bits uint) (n uint64, rest []byte, err error) {
	mask := uint64(1)<<bits - 1
	n = uint64(p[0]) & mask
	if p = p[1:]; n < mask {
		return n, p, nil
	}
	for shift := uint(0); len(p) > 0; shift += 7 {
		c := p[0]
		p = p[1:]
		if n += uint64(c&0x7f) << shift; n > maxNumber || shift > 28 {
			return 0, nil, errNumber
		}
		if c&0x80 == 0 {
			return n, p, nil
		}
	}
	return 0, nil, errCutShort
}

// readString reads a string (RFC 7541, section 5.2).
func readString(p []byte) (s string, rest []byte, err error) {
	if len(p) == 0 {
		return "", nil, errCutShort
	}
	huffman := p[0]&0x80 != 0
	n, p, err := readNumber(p, 7)
	switch {
	case err != nil:
		return "", nil, err
	case n > uint64(len(p)):
		return "", nil, errCutShort
	case huffman:
		s, err = hpack.HuffmanDecodeToString(p[:n])
	default:
		s = string(p[:n])
	}
	return s, p[n:], err
}
