package h2

import "github.com/outrigger-mesh/outrigger/proxy/l7/codec"

// A fieldKind is what a field means to HTTP/2.
type fieldKind uint8

const (
	plain     fieldKind = iota
	badName             // not in lower case, or not a token
	badValue            // with a control character, or blanks around it
	forbidden           // of one connection, which HTTP/2 does not have
	contentLength
	hostField
	origProtoField
	expectField
	unknownPseudo
	methodField
	schemeField
	authorityField
	pathField
	protocolField
	statusField
)

// kindOf looks at a field (RFC 9113, sections 8.2 and 8.3).
func kindOf(name, value string) fieldKind {
	switch {
	case name == "":
		return badName
	case name[0] == ':':
		return pseudoKind(name)
	case !codec.All(name, codec.Lower):
		return badName
	case !codec.All(value, codec.Value) || blankAround(value):
		return badValue
	default:
		return regularKind(name, value)
	}
}

func blankAround(value string) bool {
	return value != "" && (isBlank(value[0]) || isBlank(value[len(value)-1]))
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func regularKind(name, value string) fieldKind {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return forbidden
	case "te":
		if value != "trailers" {
			return forbidden
		}
	case "content-length":
		return contentLength
	case "host":
		return hostField
	case "l5d-orig-proto":
		return origProtoField
	case "expect":
		return expectField
	}
	return plain
}

func pseudoKind(name string) fieldKind {
	switch name {
	case ":method":
		return methodField
	case ":scheme":
		return schemeField
	case ":authority":
		return authorityField
	case ":path":
		return pathField
	case ":protocol":
		return protocolField
	case ":status":
		return statusField
	default:
		return unknownPseudo
	}
}

// add takes one field of the block, which is the decoder's way to give it. What a
// block holds is counted before it is kept: a table entry costs its sender a byte
// each time.
func (b *block) add(e *entry, sensitive bool) {
	b.size += e.size()
	b.fields++
	if b.size > b.mostBytes || b.fields > b.mostFields {
		b.large = true
	}
	if b.large || b.to == nil || b.malformed != "" {
		return
	}
	if e.kind >= unknownPseudo {
		b.addPseudo(e)
		return
	}
	b.regular = true
	if e.kind != plain && !b.note(e) {
		return
	}
	if sensitive {
		b.to.AddSensitive(e.name, e.value)
	} else {
		b.to.AddParsed(e.name, e.value)
	}
}

// note takes note of a field that says something of the message. It reports whether
// it may stay.
func (b *block) note(e *entry) bool {
	switch e.kind {
	case badName:
		b.malformed = "invalid field name " + codec.Quoted(e.name)
	case badValue:
		b.malformed = "invalid value of " + codec.Quoted(e.name)
	case forbidden:
		b.malformed = codec.Quoted(e.name) + " is not for HTTP/2"
	case contentLength:
		n, ok := codec.ParseLength(e.value)
		if !ok || b.length >= 0 {
			b.malformed = "invalid content-length " + codec.Quoted(e.value)
		}
		b.length = n
	case hostField:
		b.hosts++
		b.host = e.value
	case origProtoField:
		b.mesh = true
	case expectField:
		b.expects = e.value == "100-continue"
	default: // plain, and pseudo-fields, which do not come here
	}
	return b.malformed == ""
}

// addPseudo keeps a pseudo-field: each at most once, and ahead of all others.
func (b *block) addPseudo(e *entry) {
	p := &b.pseudo
	bit := uint8(1) << (e.kind - unknownPseudo)
	switch {
	case e.kind == unknownPseudo:
		b.malformed = "unknown pseudo-field " + codec.Quoted(e.name)
	case b.regular:
		b.malformed = "pseudo-field after a field"
	case p.seen&bit != 0:
		b.malformed = "pseudo-field twice: " + e.name
	}
	p.seen |= bit
	switch e.kind {
	case methodField:
		p.method = e.value
	case schemeField:
		p.scheme = e.value
	case authorityField:
		p.authority = e.value
	case pathField:
		p.path = e.value
	case statusField:
		p.status = e.value
	default: // :protocol, which is not asked for
	}
}

// Bits of pseudo.seen.
const (
	seenMethod    = 1 << (methodField - unknownPseudo)
	seenScheme    = 1 << (schemeField - unknownPseudo)
	seenAuthority = 1 << (authorityField - unknownPseudo)
	seenPath      = 1 << (pathField - unknownPseudo)
	seenStatus    = 1 << (statusField - unknownPseudo)

	requestPseudo  = seenMethod | seenScheme | seenAuthority | seenPath
	responsePseudo = seenStatus
)
