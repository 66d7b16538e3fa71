package telemetry

import (
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/outrigger-mesh/outrigger/discover"
)

// A Direction is the first label of most series, as seen from the workload.
type Direction string

// The directions.
const (
	Inbound  Direction = "inbound"
	Outbound Direction = "outbound"
)

// Labels returns the label direction.
func (d Direction) Labels() Labels { return Label("direction", string(d)) }

// Labels name one series of a family, or several of different families. They
// are shown in the order in which they were added, which is Linkerd's. They are
// comparable and never change; the zero Labels are none.
type Labels struct{ pairs string } // name, 0, value, 0, …

// maxValue bounds a label's value, in bytes: a SPIFFE ID has at most 2,048.
const maxValue = 2048

// Label returns one label.
func Label(name, value string) Labels { return Labels{}.With(name, value) }

// With returns l and one more label. What no label may contain is replaced; of
// labels with the same name the first stands.
func (l Labels) With(name, value string) Labels {
	name = cleanName(name)
	if l.has(name) {
		return l
	}
	return Labels{l.pairs + name + "\x00" + cleanValue(value) + "\x00"}
}

// Join returns the labels of l, then those of more.
func (l Labels) Join(more Labels) Labels {
	for name, value := range more.all() {
		l = l.With(name, value)
	}
	return l
}

// Prefixed returns l and then each of those labels, with the prefix before its
// name: "dst_" for an endpoint's, "rt_" for a route's.
func (l Labels) Prefixed(prefix string, labels discover.Labels) Labels {
	for name, value := range labels.All() {
		l = l.With(prefix+name, value)
	}
	return l
}

// withPeer returns l with the label peer after direction, where Linkerd has it.
func (l Labels) withPeer(peer string) Labels {
	var out Labels
	for name, value := range l.all() {
		if name != "direction" {
			break
		}
		out = out.With(name, value)
	}
	return out.With("peer", peer).Join(l)
}

// Target returns the labels target_addr, target_ip and target_port.
func Target(addr netip.AddrPort) Labels {
	return Label("target_addr", addr.String()).
		With("target_ip", addr.Addr().String()).
		With("target_port", strconv.Itoa(int(addr.Port())))
}

// A Plaintext is why a connection is not encrypted, by Linkerd's name.
type Plaintext string

// The reasons, for the label no_tls_reason.
const (
	Loopback       Plaintext = "loopback"
	NotDiscovered  Plaintext = "not_provided_by_service_discovery"
	NoTLSFromPeer  Plaintext = "no_tls_from_remote"
	PortSkippedTLS Plaintext = "port_skipped"
)

// Labels returns the labels tls and no_tls_reason.
func (p Plaintext) Labels() Labels {
	return Label("tls", "no_identity").With("no_tls_reason", string(p))
}

// ServerID returns the labels of a connection to a server that proved to be id.
func ServerID(id string) Labels { return Label("tls", "true").With("server_id", id) }

// ClientID returns the labels of a connection from a client that proved to be id.
func ClientID(id string) Labels { return Label("tls", "true").With("client_id", id) }

// ForeignTLS returns the labels of a connection whose TLS, for the server that its
// client names, is passed on as it comes.
func ForeignTLS(sni string) Labels { return Label("tls", "opaque").With("sni", sni) }

// String returns l as the text format shows it.
func (l Labels) String() string {
	var b strings.Builder
	for name, value := range l.all() {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name + "=" + strconv.Quote(value))
	}
	return b.String()
}

func (l Labels) all() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		rest := l.pairs
		for rest != "" {
			var name, value string
			name, rest, _ = strings.Cut(rest, "\x00")
			value, rest, _ = strings.Cut(rest, "\x00")
			if !yield(name, value) {
				return
			}
		}
	}
}

func (l Labels) has(name string) bool {
	for n := range l.all() {
		if n == name {
			return true
		}
	}
	return false
}

// cleanName makes name one that every Prometheus can read.
func cleanName(name string) string {
	legal := func(r rune) rune {
		switch {
		case r == '_', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		default:
			return '_'
		}
	}
	if name == "" || '0' <= name[0] && name[0] <= '9' {
		name = "_" + name
	}
	return strings.Map(legal, name)
}

// cleanValue makes value valid UTF-8 of bounded length: what is cleaned stays as
// it is when it is cleaned again. How it is escaped is the format's business.
func cleanValue(value string) string {
	value = cut(value)
	return cut(strings.ReplaceAll(strings.ToValidUTF8(value, "\uFFFD"), "\x00", "\uFFFD"))
}

// cut returns the whole characters of value that maxValue has room for.
func cut(value string) string {
	if len(value) <= maxValue {
		return value
	}
	end := maxValue
	for end > maxValue-utf8.UTFMax && !utf8.RuneStart(value[end]) {
		end--
	}
	return value[:end]
}
