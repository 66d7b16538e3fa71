package stack

import (
	"iter"
	"slices"
)

// A Header is an ordered list of fields. The zero Header is empty.
//
// Names are in lower case, here and in every argument below: the codecs make
// them so. Values stay as they were received. A message has some ten fields, and
// to compare ten short strings costs less than to hash one.
type Header struct {
	fields []field
}

type field struct {
	name, value string
	parsed      bool
	sensitive   bool
}

// Len returns the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// At returns the i-th field, in order.
func (h *Header) At(i int) (name, value string) {
	f := &h.fields[i]
	return f.name, f.value
}

// Parsed reports whether the i-th field came by AddParsed.
func (h *Header) Parsed(i int) bool { return h.fields[i].parsed }

// Get returns the first value of name, or "".
func (h *Header) Get(name string) string {
	for i := range h.fields {
		if h.fields[i].name == name {
			return h.fields[i].value
		}
	}
	return ""
}

// Has reports whether there is a field of that name.
func (h *Header) Has(name string) bool {
	for i := range h.fields {
		if h.fields[i].name == name {
			return true
		}
	}
	return false
}

// Values yields each value of name, in order.
func (h *Header) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range h.fields {
			if h.fields[i].name == name && !yield(h.fields[i].value) {
				return
			}
		}
	}
}

// All yields every field's name and value, in order.
func (h *Header) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range h.fields {
			if !yield(h.fields[i].name, h.fields[i].value) {
				return
			}
		}
	}
}

// Add puts a field at the end.
func (h *Header) Add(name, value string) {
	h.fields = append(h.fields, field{name: name, value: value})
}

// AddParsed is Add for a codec's parser, which has seen that name is a token and
// value has no control characters: who writes the field need not look again.
func (h *Header) AddParsed(name, value string) {
	h.fields = append(h.fields, field{})
	f := &h.fields[len(h.fields)-1] // in place, since to copy a field waits until it has left the processor
	f.name, f.value, f.parsed = name, value, true
}

// AddSensitive is AddParsed for a field that HPACK's tables must not hold, here
// and at every hop that it passes (RFC 7541, section 7.1.3).
func (h *Header) AddSensitive(name, value string) {
	h.fields = append(h.fields, field{name: name, value: value, parsed: true, sensitive: true})
}

// Sensitive reports whether the i-th field came by AddSensitive.
func (h *Header) Sensitive(i int) bool { return h.fields[i].sensitive }

// Set makes value the only one of name. It stands where the first one stood.
func (h *Header) Set(name, value string) {
	i := slices.IndexFunc(h.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		h.Add(name, value)
		return
	}
	h.fields[i].value, h.fields[i].parsed = value, false
	later := slices.DeleteFunc(h.fields[i+1:], func(f field) bool { return f.name == name })
	h.fields = h.fields[:i+1+len(later)]
}

// Del removes every field of that name.
func (h *Header) Del(name string) {
	for i := range h.fields {
		if h.fields[i].name == name {
			later := slices.DeleteFunc(h.fields[i:], func(f field) bool { return f.name == name })
			h.fields = h.fields[:i+len(later)]
			return
		}
	}
}

// DelFunc removes every field for which del is true.
func (h *Header) DelFunc(del func(name, value string) bool) {
	h.fields = slices.DeleteFunc(h.fields, func(f field) bool { return del(f.name, f.value) })
}

// Clone returns a copy that shares nothing with h.
func (h *Header) Clone() Header {
	return Header{fields: slices.Clone(h.fields)}
}

// Reset removes every field, but keeps the room for them.
func (h *Header) Reset() { h.fields = h.recycle() }

// recycle returns h's room for fields, emptied. A test build (tag poison) first
// spoils what is in it, so that whoever kept a message past its end sees that.
func (h *Header) recycle() []field {
	if poisoned {
		for i := range h.fields {
			h.fields[i] = field{name: "poisoned", value: "kept past the exchange's end"}
		}
		return nil
	}
	clear(h.fields)
	return h.fields[:0]
}
