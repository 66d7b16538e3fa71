package h1

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestHostileRequests sends each vector through a proxy, whole and byte by byte.
func TestHostileRequests(t *testing.T) {
	all := vectors()
	if len(all) < 120 {
		t.Errorf("only %d vectors", len(all))
	}
	for _, v := range all {
		t.Run(v.name, func(t *testing.T) {
			for _, wrap := range []wrapping{raw, dribbling} {
				if len(v.text) > 8<<10 {
					wrap = raw
				}
				origin := newWitness(t)
				got := must(t, proxyOver(t, origin.addr, testParams(), wrap), v.text+next)
				v.check(t, origin, got)
			}
		})
	}
}

func (v *vector) check(t *testing.T, origin *witness, got string) {
	t.Helper()
	seen := v.seen
	answers := 1
	if seen != "" {
		answers = 2
	}
	rd := bufio.NewReader(strings.NewReader(got))
	for i := range answers {
		method := "GET"
		if i == 0 {
			method, _, _ = strings.Cut(strings.TrimLeft(v.text, "\r\n"), " ")
		}
		resp, err := http.ReadResponse(rd, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("answer %d of %d: %v, in %q", i+1, answers, err, got)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		want := v.status
		if i == 1 {
			want = 200
		}
		if resp.StatusCode != want || resp.Close != (i == answers-1) {
			t.Errorf("answer %d: %d, close %t; want %d of %d answers. All: %q", i+1, resp.StatusCode, resp.Close, want, answers, got)
		}
	}
	if rd.Buffered() > 0 {
		t.Errorf("more than %d answers: %q", answers, got)
	}
	if s := origin.targets(); s != seen || origin.bad != nil {
		t.Errorf("the origin saw %q and unreadable %q, want %q", s, origin.bad, seen)
	}
}

// dribbling connections give one byte at a time.
func dribbling(c *net.TCPConn) net.Conn { return dribble{c} }

type dribble struct{ *net.TCPConn }

func (d dribble) Read(p []byte) (int, error) { return d.TCPConn.Read(p[:min(1, len(p))]) }
