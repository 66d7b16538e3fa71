package h2

import (
	"strings"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
)

// badRequest says what is wrong with a request's head (RFC 9113, section 8.3.1);
// "" if nothing is.
func (b *block) badRequest() string {
	p := &b.pseudo
	switch {
	case b.malformed != "":
		return b.malformed
	case p.seen&^requestPseudo != 0:
		return "pseudo-field that requests do not have"
	case p.method == "" || !codec.All(p.method, codec.Token):
		return "invalid :method"
	case !codec.All(p.authority, codec.Target):
		return "invalid :authority"
	case b.end && b.length > 0:
		return wrongLength
	}
	if why := b.badTarget(); why != "" {
		return why
	}
	return b.badHost()
}

// badTarget looks at where the request goes.
func (b *block) badTarget() string {
	p := &b.pseudo
	switch {
	case p.method == "CONNECT":
		return b.badConnect()
	case p.scheme == "" || !codec.All(p.scheme, codec.Token):
		return "invalid :scheme"
	case !validPath(p.path, p.method):
		return "invalid :path"
	case p.authority != "" && !codec.ValidAuthority(p.authority):
		return "invalid :authority"
	}
	return ""
}

// badConnect looks at a CONNECT, which has neither a path nor a content's length.
func (b *block) badConnect() string {
	p := &b.pseudo
	if p.seen&(seenScheme|seenPath) != 0 || b.length >= 0 || !codec.ValidAuthority(p.authority) {
		return "CONNECT to " + codec.Quoted(p.authority)
	}
	return ""
}

func validPath(path, method string) bool {
	if path == "*" {
		return method == "OPTIONS"
	}
	return path != "" && path[0] == '/' && codec.All(path, codec.Target)
}

// badHost refuses a host that is not the authority: who reads one and who reads the
// other would not agree. One that is the same is dropped. HTTP/1 that is carried
// over HTTP/2 may well have both, but neither twice nor with what HTTP/1 would refuse.
func (b *block) badHost() string {
	switch {
	case b.hosts == 0:
		return ""
	case b.hosts > 1:
		return "host twice"
	case b.mesh && (b.host == "" || codec.ValidAuthority(b.host)):
		return ""
	case b.mesh, b.pseudo.seen&seenAuthority == 0 && !codec.ValidAuthority(b.host):
		return "invalid host"
	case b.pseudo.seen&seenAuthority == 0:
		b.pseudo.authority = b.host
	case !strings.EqualFold(b.host, b.pseudo.authority):
		return "host is not :authority"
	}
	b.to.Del("host")
	return ""
}

// badResponse says what is wrong with a response's head, and which its status is.
func (b *block) badResponse() (status int, why string) {
	p := &b.pseudo
	switch {
	case b.malformed != "":
		return 0, b.malformed
	case b.large:
		return 0, "header is too large"
	case p.seen != responsePseudo:
		return 0, "response does not have :status alone"
	case len(p.status) != 3 || p.status[0] < '1' || !codec.All(p.status, codec.Digit):
		return 0, "invalid :status " + codec.Quoted(p.status)
	}
	status = int(p.status[0]-'0')*100 + int(p.status[1]-'0')*10 + int(p.status[2]-'0')
	switch {
	case status == 101:
		return 0, "status 101 is not for HTTP/2"
	case status < 200 && b.end:
		return 0, "interim response ends its stream"
	}
	return status, ""
}
