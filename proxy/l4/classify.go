package l4

import "bytes"

const (
	preface    = "PRI * HTTP/2.0" // as much of RFC 9113, 3.4 as Linkerd looks at
	maxMethod  = 32               // longer tokens are no methods
	emptyLines = 4                // RFC 9112, 2.2 has servers skip at least one
)

// classify says what a connection speaks that begins with b, if that is certain:
// if no more bytes would change it.
//
// It is HTTP/2 if it begins with the preface, and HTTP/1 if it begins with a
// request line as far as the version. A line that begins with a method of RFC 9110
// counts whatever stands between, so that a malformed request is the codec's to
// refuse, and is not passed on unread.
func classify(b []byte) (p Protocol, certain bool) {
	full := len(b) >= detectBytes
	b = b[:min(len(b), detectBytes)]
	if bytes.HasPrefix(b, []byte(preface)) {
		return HTTP2, true
	}
	if bytes.HasPrefix([]byte(preface), b) { // the empty b, too
		return Opaque, false
	}
	b, certain = skipEmptyLines(b)
	if certain {
		return Opaque, true
	}
	p, certain = requestLine(b)
	return p, certain || full
}

// skipEmptyLines returns what follows the empty lines that b begins with. It is
// certain that this is no HTTP if they are too many, or end in something else.
func skipEmptyLines(b []byte) (rest []byte, hopeless bool) {
	for range emptyLines {
		line := bytes.TrimPrefix(b, []byte("\r"))
		if len(line) == 0 {
			return nil, false
		}
		if line[0] != '\n' {
			return b, len(line) < len(b)
		}
		b = line[1:]
	}
	return b, len(b) > 0 && (b[0] == '\r' || b[0] == '\n')
}

// requestLine classifies what follows the empty lines. If it is uncertain it gives
// the likelier answer.
func requestLine(b []byte) (p Protocol, certain bool) {
	n := 0
	for n < len(b) && isToken(b[n]) {
		n++
	}
	if n > maxMethod {
		return Opaque, true
	}
	if n == len(b) {
		return Opaque, false
	}
	if isMethod(b[:n]) && (b[n] == ' ' || b[n] == '\t') {
		return knownMethod(b[n:])
	}
	if n == 0 || b[n] != ' ' {
		return Opaque, true
	}
	return otherMethod(b[n+1:])
}

// knownMethod looks for a version in what follows a method of RFC 9110.
func knownMethod(b []byte) (p Protocol, certain bool) {
	line, _, ended := bytes.Cut(b, []byte("\n"))
	for _, version := range []string{" HTTP/", "\tHTTP/"} {
		if bytes.Contains(line, []byte(version)) {
			return HTTP1, true
		}
	}
	if ended {
		return Opaque, true
	}
	return HTTP1, false
}

// otherMethod looks for a target and a version of HTTP/1 in what follows any other
// method. There, what HTTP does not permit decides at once.
func otherMethod(b []byte) (p Protocol, certain bool) {
	const version = " HTTP/1."
	n := bytes.IndexFunc(b, func(r rune) bool { return r <= ' ' || r == 0x7f })
	if n < 0 {
		if len(b) > 0 && b[0] == '/' {
			return HTTP1, false
		}
		return Opaque, false
	}
	switch rest := b[n:]; {
	case n == 0:
		return Opaque, true // no target
	case bytes.HasPrefix(rest, []byte(version)):
		return HTTP1, true
	default:
		return Opaque, !bytes.HasPrefix([]byte(version), rest)
	}
}

func isMethod(b []byte) bool {
	switch string(b) {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH": // the last is RFC 5789's
		return true
	}
	return false
}

// isToken reports whether c is a tchar of RFC 9110, 5.6.2.
func isToken(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c != 0 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
}
