package h1

import (
	"strconv"
	"strings"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// maxOptions may stand in a message's connection fields: each is looked for among
// all its fields.
const maxOptions = 64

// seeHop notes a field that is of this hop alone.
func (f *fieldsSeen) seeHop(name, value string) {
	switch name {
	case "connection":
		f.connection = join(f.connection, value)
		f.hop = true
		return
	case "upgrade":
		f.protocols = join(f.protocols, value)
	case "te":
		if strings.EqualFold(value, "trailers") {
			return
		}
	case "keep-alive":
		f.keepsFor = keepAliveTimeout(value)
	case "proxy-connection", "http2-settings":
	default:
		return
	}
	f.hop, f.others = true, true
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "," + b
}

// tokens calls yield with each member of a comma-separated list, in lower case.
func tokens(list string, yield func(string)) {
	for list != "" {
		var one string
		one, list, _ = strings.Cut(list, ",")
		if one = strings.Trim(one, " \t"); one != "" {
			yield(strings.ToLower(one))
		}
	}
}

// takeOff reads the connection field and removes the fields of one hop. What
// frames or routes the message is not removed for being named in it.
func (f *fieldsSeen) takeOff(h *stack.Header) error {
	var named []string
	switch f.connection {
	case "":
	case "close":
		f.close = true
	case "keep-alive":
		f.keepAlive = true
	default:
		var err error
		if named, err = f.options(); err != nil {
			return err
		}
	}
	if !f.others && len(named) == 0 { // as in most messages that have any
		h.Del("connection")
		return nil
	}
	h.DelFunc(func(name, value string) bool { return ofOneHop(name, value, named) })
	if f.upgrade != "" {
		h.Add("upgrade", f.upgrade)
	}
	return nil
}

// options reads the connection field, and returns the fields that it names.
func (f *fieldsSeen) options() (named []string, err error) {
	if strings.Count(f.connection, ",") >= maxOptions {
		return nil, malformed("more than %d connection options", maxOptions)
	}
	upgrades := false
	tokens(f.connection, func(token string) {
		switch token {
		case "close":
			f.close = true
		case "keep-alive":
			f.keepAlive = true
		case "upgrade":
			upgrades = true
		case "host", "content-length", "transfer-encoding", "trailer", "te":
		default:
			named = append(named, token)
		}
	})
	if upgrades {
		f.upgrade = withoutH2C(f.protocols)
	}
	return named, nil
}

// ofOneHop reports whether a field ends here, by its nature or because it was
// named as one that does.
func ofOneHop(name, value string, named []string) bool {
	if codec.OfOneHop(name) {
		return true
	}
	if name == "te" {
		return !strings.EqualFold(value, "trailers")
	}
	for _, n := range named {
		if n == name {
			return true
		}
	}
	return false
}

// withoutH2C drops the one protocol that nobody may be upgraded to here: HTTP/2
// in the clear is by prior knowledge (RFC 9113, section 3.1).
func withoutH2C(protocols string) string {
	var keep []string
	for p := range strings.SplitSeq(protocols, ",") {
		if p = strings.Trim(p, " \t"); p != "" && !strings.EqualFold(p, "h2c") {
			keep = append(keep, p)
		}
	}
	return strings.Join(keep, ", ")
}

// keepAliveTimeout reads how long a server says it keeps an idle connection, from
// the value of its keep-alive field: "timeout=5, max=100".
func keepAliveTimeout(value string) time.Duration {
	var d time.Duration
	tokens(value, func(t string) {
		if s, ok := strings.CutPrefix(t, "timeout="); ok {
			if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 86400 {
				d = time.Duration(n) * time.Second
			}
		}
	})
	return d
}
