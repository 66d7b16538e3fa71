package proxy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sumOf adds up the series of a family that have all the labels.
func sumOf(metrics, family string, labels ...string) int {
	total := 0
series:
	for line := range strings.Lines(metrics) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok || !strings.HasPrefix(name, family+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(name+",", l+",") {
				continue series
			}
		}
		n, _ := strconv.ParseFloat(value, 64)
		total += int(n)
	}
	return total
}

// TestCountsAgree sends requests and lines through two sidecars. Both, the
// clients and the applications count the same.
func TestCountsAgree(t *testing.T) {
	for _, opaque := range []bool{false, true} {
		t.Run(fmt.Sprintf("opaque %t", opaque), func(t *testing.T) {
			l := newLedger()
			start, host := serveHTTP1, webHost
			if opaque {
				start, host = serveLines, ""
			}
			app := start(t, l, "app")
			p := startPair(t, app.addr, opaque)
			ld := startLoad(t, l, "load", p.addr, host, 8)
			l.progress(t, 500)
			ld.stop()
			l.check(t)
			if opaque {
				p.agree(t, "connections", int(ld.conns.Load()), count{"tcp_open_total", []string{`peer="src"`}}, count{"tcp_open_total", []string{`peer="dst"`}},
					count{"tcp_close_total", []string{`peer="src"`, `errno=""`}}, count{"tcp_close_total", []string{`peer="dst"`, `errno=""`}})
				bytes := 0
				for id := range l.work {
					bytes += len(id) + 1
				}
				for _, peer := range []string{`peer="src"`, `peer="dst"`} {
					p.agree(t, "bytes", bytes, count{"tcp_read_bytes_total", []string{peer}}, count{"tcp_write_bytes_total", []string{peer}})
				}
			} else {
				p.agree(t, "requests", l.executed, count{"request_total", nil}, count{"response_total", []string{`classification="success"`, `status_code="200"`}},
					count{"response_total", nil}, count{"response_latency_ms_count", nil})
			}
			for _, s := range []*sidecar{p.outbound, p.inbound} {
				wellFormed(t, s.metrics())
			}
		})
	}
}

// A count is a family, and labels that its series are to have.
type count struct {
	family string
	labels []string
}

// agree waits until each count of both sidecars is want.
func (p *pair) agree(t *testing.T, what string, want int, counts ...count) {
	t.Helper()
	var wrong []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		wrong = nil
		for name, s := range map[string]*sidecar{"outbound": p.outbound, "inbound": p.inbound} {
			m := s.metrics()
			for _, c := range counts {
				if got := sumOf(m, c.family, append(c.labels, fmt.Sprintf("direction=%q", name))...); got != want {
					wrong = append(wrong, fmt.Sprintf("%s: %s %v is %d", name, c.family, c.labels, got))
				}
			}
		}
		if len(wrong) == 0 {
			return
		}
	}
	t.Errorf("%d %s, and yet\n%s", want, what, strings.Join(wrong, "\n"))
}

var line = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\.)*"(,|\}))+)? (NaN|[-+]?Inf|[-+.0-9eE]+)$`)

// wellFormed fails the test for a line that is none of the text format's, such as
// one with an empty label.
func wellFormed(t *testing.T, metrics string) {
	t.Helper()
	for l := range strings.Lines(metrics) {
		if l = strings.TrimSuffix(l, "\n"); !strings.HasPrefix(l, "#") && !line.MatchString(l) || strings.Contains(l, ",,") {
			t.Errorf("malformed: %s", l)
		}
	}
}
