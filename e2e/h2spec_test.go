package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

// badPreface is the one case of h2spec that a sidecar does not pass in the clear:
// what does not begin as HTTP/2 is not HTTP/2, and is forwarded as it stands. See
// TestBadPreface.
const badPreface = "http2/3.5/2"

// TestH2Spec runs h2spec against both of a sidecar's sides.
func TestH2Spec(t *testing.T) {
	s := start(t, http2Origin(t), "h2")
	for name, addr := range map[string]string{"outbound": s.listen, "inbound": s.inbound} {
		t.Run(name, func(t *testing.T) {
			out, err := other(t, "h2spec", addr)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			passed, failed := h2specReport(out)
			if passed < 140 || !slices.Equal(failed, []string{badPreface}) {
				t.Errorf("%d cases passed, and these failed: %v\n%s", passed, failed, out)
			}
			t.Logf("%d cases passed; failed: %v", passed, failed)
		})
	}
}

// h2specReport reads what h2specMain wrote.
func h2specReport(out string) (passed int, failed []string) {
	for line := range strings.Lines(out) {
		switch word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "PASSED":
			passed++
		case "FAILED":
			failed = append(failed, rest)
		}
	}
	return passed, failed
}

// h2specMain is h2spec, with a report that can be read by a program.
func h2specMain(args []string) int {
	host, port, err := net.SplitHostPort(args[0])
	if err != nil {
		fmt.Println(err)
		return 1
	}
	c := &config.Config{Host: host, Path: "/", Timeout: 2 * time.Second, MaxHeaderLen: 4000}
	c.Port, _ = strconv.Atoi(port)
	for _, g := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		g.Test(c)
		printResults(g)
	}
	return 0
}

func printResults(g *spec.TestGroup) {
	for i, test := range g.Tests {
		word := "PASSED"
		switch r := test.Result; {
		case r == nil || r.Skipped:
			word = "SKIPPED"
		case r.Failed:
			word = "FAILED"
		}
		fmt.Printf("\n%s %s/%d\n", word, g.ID(), i+1)
	}
	for _, sub := range g.Groups {
		printResults(sub)
	}
}

// TestBadPreface sends what h2spec does in the case that is left out: its bytes
// reach the application as they are, and the application's answer comes back.
func TestBadPreface(t *testing.T) {
	const preface, answer = "INVALID CONNECTION PREFACE\r\n\r\n", "what is that?"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			got := make([]byte, len(preface))
			if _, err := io.ReadFull(c, got); err == nil && string(got) == preface {
				_, _ = io.WriteString(c, answer)
			}
			c.Close()
		}
	}()
	s := start(t, l.Addr().String(), "tcp")
	for name, addr := range map[string]string{"outbound": s.listen, "inbound": s.inbound} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(15 * time.Second))
			_, _ = io.WriteString(c, preface)
			if got, err := io.ReadAll(bufio.NewReader(c)); string(got) != answer || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// http2Origin answers anything with 200, in HTTP/2 alone.
func http2Origin(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, "hello")
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}
