package admin

import (
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// methods serves each method by its handler, and answers others with 405.
func methods(by map[string]http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if serve := by[r.Method]; serve != nil {
			serve(w, r)
			return
		}
		for _, m := range slices.Sorted(maps.Keys(by)) {
			w.Header().Add("Allow", m)
		}
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// local lets through only who asks from this machine, and is no web page there:
// a page of anybody's, in a browser next to the proxy, could send such a request
// by itself, or by a name of its own that resolves to a loopback address.
func local(podName string, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !fromLoopback(r):
			text(w, http.StatusForbidden, "Requests are only permitted from localhost.")
		case fromBrowser(r):
			text(w, http.StatusForbidden, "Requests are not permitted from web pages.")
		case !ownHost(r.Host, podName):
			text(w, http.StatusForbidden, "Requests are only permitted to an IP address, localhost or the pod's name.")
		default:
			serve(w, r)
		}
	}
}

func fromLoopback(r *http.Request) bool {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && client.Addr().IsLoopback() // of IPv4 mapped into IPv6, too
}

// fromBrowser goes by the fields that scripts cannot leave out.
func fromBrowser(r *http.Request) bool {
	for name := range r.Header {
		if name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") {
			return true
		}
	}
	return false
}

// ownHost reports whether host, with or without a port, is none that others
// could let resolve to this machine.
func ownHost(host, podName string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return strings.EqualFold(name, "localhost") || podName != "" && strings.EqualFold(name, podName)
}
