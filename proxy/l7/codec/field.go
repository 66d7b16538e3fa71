package codec

import (
	"fmt"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// OfOneHop reports whether a field is of one connection alone, and goes no further
// than it (RFC 9110, section 7.6.1). So is te, but for "trailers", and in HTTP/1
// what the connection field names.
func OfOneHop(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "http2-settings", "upgrade":
		return true
	}
	return false
}

// DeclaredLength returns what h says of the length of a content that is to be sent,
// or -1 if nothing. A layer may have set it, so that it is looked at again.
func DeclaredLength(h *stack.Header) (int64, error) {
	declared := int64(-1)
	for i := range h.Len() {
		name, value := h.At(i)
		if name != "content-length" {
			continue
		}
		n, ok := ParseLength(value)
		if !ok || declared >= 0 {
			return 0, fmt.Errorf("content-length %s cannot be written", Quoted(value))
		}
		declared = n
	}
	return declared, nil
}
