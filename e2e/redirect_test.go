package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// Within this a server that speaks first is heard, though nobody has declared its
// port, through two sidecars that each wait for the client before.
const firstWord = 300 * time.Millisecond

// serveWeb answers HTTP/1 and HTTP/2 with where it was asked, and from where.
func serveWeb(l net.Listener) {
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s %s at %s from %s", r.Proto, r.Host, r.Context().Value(http.LocalAddrContextKey), from)
	}), Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	_ = s.Serve(l)
}

func serveGRPC(l net.Listener) {
	s := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	_ = s.Serve(l)
}

// serveTCP says greeting first, if anything, and then what it is told.
func serveTCP(greeting string) func(net.Listener) {
	return func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, greeting)
				_, _ = io.Copy(c, c)
			}()
		}
	}
}

// A family is one version of IP, and what listens in the server's pod by it.
type family struct {
	name, server                           string
	web, webService, grpc, echo            string
	opaqueService, opaqueEndpoint, greeter string
	greeters                               []string // each asked once
}

// listenAll starts a family's servers.
func listenAll(t *testing.T, server pod, f family) family {
	t.Helper()
	f.web = server.listen(t, f.server, serveWeb)
	f.grpc = server.listen(t, f.server, serveGRPC)
	f.echo = server.listen(t, f.server, serveTCP(""))
	f.opaqueEndpoint = server.listen(t, f.server, serveTCP("220 hello\r\n"))
	f.greeter = server.listen(t, f.server, serveTCP("220 hello\r\n"))
	for range 5 {
		f.greeters = append(f.greeters, server.listen(t, f.server, serveTCP("220 hello\r\n")))
	}
	return f
}

// services are what the mesh file says of a family.
func (f *family) services() string {
	return fmt.Sprintf("- {name: web-%[1]s.demo.svc.cluster.local, port: 80, clusterIP: '%[2]s', endpoints: [{address: '%[3]s'}]}\n"+
		"- {name: db-%[1]s.demo.svc.cluster.local, port: 25, opaque: true, clusterIP: '%[2]s', endpoints: [{address: '%[4]s'}]}\n",
		strings.ToLower(f.name), hostOf(f.webService), f.web, f.opaqueEndpoint)
}

func hostOf(addr string) string { host, _, _ := net.SplitHostPort(addr); return host }
func portOf(addr string) string { _, port, _ := net.SplitHostPort(addr); return port }

// TestRedirected has programs whose connections the kernel redirects to the sidecar
// beside them, and to that beside their server.
func TestRedirected(t *testing.T) {
	client, server := twoPods(t)
	families := []family{
		{name: "IPv4", server: server.v4, webService: "10.96.0.10:80", opaqueService: "10.96.0.10:25"},
		{name: "IPv6", server: server.v6, webService: "[fd96::10]:80", opaqueService: "[fd96::10]:25"},
	}
	mesh, opaque := "services:\n", []string(nil)
	for i := range families {
		families[i] = listenAll(t, server, families[i])
		mesh += families[i].services()
		opaque = append(opaque, portOf(families[i].opaqueEndpoint))
	}
	server.sidecar(t, "the server's sidecar", "services: []\n", "LINKERD2_PROXY_INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION="+strings.Join(opaque, ","))
	client.sidecar(t, "the client's sidecar", mesh)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			r := redirected{client, server, f}
			t.Run("curl", r.curl)
			t.Run("h2load", r.h2load)
			t.Run("grpc", r.grpc)
			t.Run("client_first", r.clientFirst)
			t.Run("server_first_opaque", r.serverFirstOpaque)
			t.Run("server_first_undeclared", r.serverFirst)
			t.Run("server_first_learned", r.learned)
			t.Run("the_sidecars_own", r.exempt)
		})
	}
	for name, p := range map[string]pod{"client": client, "server": server} {
		for _, direction := range []string{"inbound", "outbound"} {
			// A program that ends without having read all resets its connection, which is
			// an error of I/O. A loop that is refused is not.
			if n := p.counted(t, direction+"_tcp_errors_total", `error="unexpected"`); n != 0 {
				_, text, _ := p.admin("/metrics")
				t.Errorf("the %s's sidecar counts %d errors %s:\n%s", name, n, direction, regexp.MustCompile(`(?m)^.*_tcp_errors_total{.*$`).FindAllString(text, -1))
			}
		}
	}
}

// redirected are the tests of one family.
type redirected struct {
	client, server pod
	f              family
}

// passed sees that both sidecars have taken a connection for where it was meant to
// go: n more than before, which it is first called for.
func (r *redirected) passed(t *testing.T, meant, endpoint string) (since func(n int)) {
	t.Helper()
	counts := func() (out, in int) {
		return r.client.counted(t, "tcp_open_total", `direction="outbound"`, `peer="src"`, `target_addr="`+meant+`"`),
			r.server.counted(t, "tcp_open_total", `direction="inbound"`, `peer="src"`, `target_addr="`+endpoint+`"`)
	}
	out, in := counts()
	return func(n int) {
		t.Helper()
		gotOut, gotIn := counts()
		if gotOut -= out; gotOut != n {
			t.Errorf("the client's sidecar took %d connections for %s, not %d", gotOut, meant, n)
		}
		// HTTP's are shared and kept.
		if gotIn -= in; gotIn > n || gotIn == 0 && in == 0 {
			t.Errorf("the server's sidecar took %d connections for %s; the client opened %d", gotIn, endpoint, n)
		}
	}
}

// curl asks by a service's address, and by the server's own. The application sees
// its own address on both ends, since its sidecar asks it.
func (r *redirected) curl(t *testing.T) {
	for meant, host := range map[string]string{r.f.webService: "a", r.f.web: "b"} {
		for flag, proto := range map[string]string{"--http1.1": "HTTP/1.1", "--http2-prior-knowledge": "HTTP/2.0"} {
			since := r.passed(t, meant, r.f.web)
			got := r.client.run(t, nil, "curl", "-sS", "-g", flag, "--max-time", "15", "-H", "Host: "+host, "http://"+meant+"/")
			if want := fmt.Sprintf("%s %s at %s from %s", proto, host, r.f.web, r.f.server); got != want {
				t.Errorf("%s %s: %q, want %q", flag, meant, got, want)
			}
			since(1)
		}
	}
}

var succeeded = regexp.MustCompile(`(\d+) total, .* (\d+) succeeded`)

// h2load is given a name to ask for, since it would put an address of IPv6 into
// Host without its brackets.
func (r *redirected) h2load(t *testing.T) {
	for _, flags := range [][]string{{"--h1"}, {"-m", "10"}} {
		since := r.passed(t, r.f.webService, r.f.web)
		asked := r.client.counted(t, "request_total", `direction="outbound"`)
		served := r.server.counted(t, "request_total", `direction="inbound"`)
		out := r.client.run(t, nil, "h2load", append(flags, "-n", "500", "-c", "5", "--connect-to="+r.f.webService, "http://web/")...)
		if m := succeeded.FindStringSubmatch(out); m == nil || m[1] != "500" || m[2] != "500" {
			t.Errorf("h2load %q:\n%s", flags, out)
		}
		since(5)
		asked = r.client.counted(t, "request_total", `direction="outbound"`) - asked
		served = r.server.counted(t, "request_total", `direction="inbound"`) - served
		if asked != 500 || served != 500 {
			t.Errorf("h2load %q: the sidecars count %d and %d requests, not 500", flags, asked, served)
		}
	}
}

func (r *redirected) grpc(t *testing.T) {
	for _, name := range []string{"empty_unary", "large_unary", "ping_pong", "status_code_and_message"} {
		since := r.passed(t, r.f.grpc, r.f.grpc)
		r.client.run(t, []string{asOther + "=interop"}, "/proc/self/exe", r.f.grpc, name, "1")
		since(1)
	}
}

// talk opens a connection, reads what the server says first, and echoes a line. It
// returns how long the server's first word, or the echo's, took.
func (r *redirected) talk(t *testing.T, uid int, addr, greeting string) time.Duration {
	t.Helper()
	start := time.Now()
	c, err := r.client.dial(uid, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(start.Add(15 * time.Second))
	in := bufio.NewReader(c)
	took := time.Duration(0)
	for _, says := range []string{greeting, "\x01what I say\n"} {
		if says == "" {
			continue
		}
		if says != greeting {
			_, _ = io.WriteString(c, says)
		}
		if line, err := in.ReadString('\n'); err != nil || line != says {
			t.Fatalf("%s said %q, %v; want %q", addr, line, err, says)
		}
		if took == 0 {
			took = time.Since(start)
		}
	}
	_ = c.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(in); err != nil || len(rest) != 0 {
		t.Errorf("%s: after the end %q, %v", addr, rest, err)
	}
	return took
}

func (r *redirected) clientFirst(t *testing.T) {
	since := r.passed(t, r.f.echo, r.f.echo)
	t.Logf("answered in %v", r.talk(t, 0, r.f.echo, ""))
	since(1)
}

// serverFirstOpaque is for a port of which the mesh says that it is not HTTP.
func (r *redirected) serverFirstOpaque(t *testing.T) {
	since := r.passed(t, r.f.opaqueService, r.f.opaqueEndpoint)
	detected := func() int {
		return r.client.counted(t, "outbound_tcp_detect_http_results_total") + r.server.counted(t, "inbound_tcp_detect_http_results_total")
	}
	before := detected()
	t.Logf("the server's first word took %v", r.talk(t, 0, r.f.opaqueService, "220 hello\r\n"))
	since(1)
	if n := detected() - before; n != 0 {
		t.Errorf("the connection was looked at %d times", n)
	}
}

// serverFirst is for one of which nobody says anything. A machine that is busy may
// delay some; the best of several counts, each for a port that is new.
func (r *redirected) serverFirst(t *testing.T) {
	best := time.Hour
	var all []time.Duration
	for _, addr := range r.f.greeters {
		since := r.passed(t, addr, addr)
		took := r.talk(t, 0, addr, "220 hello\r\n")
		since(1)
		all, best = append(all, took.Round(time.Millisecond)), min(best, took)
	}
	t.Logf("the server's first word took %v", all)
	if best > firstWord {
		t.Errorf("the server's first word took %v, over %v", best, firstWord)
	}
}

// learned is for a port on which the server has always spoken first.
func (r *redirected) learned(t *testing.T) {
	for range 3 {
		r.talk(t, 0, r.f.greeter, "220 hello\r\n")
	}
	best := time.Hour
	for range 5 {
		best = min(best, r.talk(t, 0, r.f.greeter, "220 hello\r\n"))
	}
	if t.Logf("the server's first word took %v", best); best > 50*time.Millisecond {
		t.Errorf("the server's first word took %v, though it has spoken first each time before", best)
	}
	for direction, p := range map[string]pod{"outbound": r.client, "inbound": r.server} {
		if n := p.counted(t, direction+"_tcp_detect_http_results_total", `result="server_first"`); n < 8 {
			t.Errorf("%s: the server spoke first on %d connections", direction, n)
		}
	}
}

// exempt connects as the sidecar's user, whose connections nothing redirects.
func (r *redirected) exempt(t *testing.T) {
	count := func() int { return r.client.counted(t, "tcp_open_total", `direction="outbound"`, `peer="src"`) }
	before := count()
	r.talk(t, sidecarUID, r.f.echo, "")
	if n := count() - before; n != 0 {
		t.Errorf("the sidecar's own connection went through it, %d times", n)
	}
	r.talk(t, 0, r.f.echo, "")
	if n := count() - before; n != 1 {
		t.Errorf("another's connection went through the sidecar %d times", n)
	}
}
