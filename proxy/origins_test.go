package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An application is what sidecars stand before: it executes what a load sends,
// and notes that in a ledger.
type application struct {
	name string
	addr string
	l    *net.TCPListener
}

// serveHTTP1 starts an application that answers requests with their id and
// content. It notes its name, or name+"/bytes" for what no proxy has looked at:
// what has been treated as HTTP has lost its hop-by-hop fields.
func serveHTTP1(tb testing.TB, l *ledger, name string) *application {
	tb.Helper()
	a := listenApplication(tb, name)
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := name
		if r.Header.Get("keep-alive") != "" {
			who += "/bytes"
		}
		id := r.Header.Get("x-id")
		if id != "" {
			l.execute(id, who)
		}
		w.Header().Set("x-id", id)
		w.Header().Set("x-from", name)
		body, _ := io.ReadAll(r.Body) // all of it, since this server discards what is left when it answers
		_, _ = w.Write(body)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(a.l) }()
	tb.Cleanup(func() { _ = s.Close(); <-done })
	return a
}

// serveLines starts an application that answers each line with itself.
func serveLines(tb testing.TB, l *ledger, name string) *application {
	tb.Helper()
	a := listenApplication(tb, name)
	var conns sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	conns.Go(func() {
		for {
			c, err := a.l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			conns.Go(func() { echoLines(c, func(id string) { l.execute(id, name) }) })
		}
	})
	tb.Cleanup(func() {
		_ = a.l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		conns.Wait()
	})
	return a
}

func echoLines(c net.Conn, execute func(string)) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		execute(line[:len(line)-1])
		if _, err := io.WriteString(c, line); err != nil {
			return
		}
	}
}

func listenApplication(tb testing.TB, name string) *application {
	tb.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // whose sockets take no filter
	l, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return &application{name: name, addr: l.Addr().String(), l: l.(*net.TCPListener)}
}

// retire closes the application's listener. It goes on serving the connections
// that it has, and first accepts those that wait for it: the kernel would reset
// them at the close, with whatever they carry, and no proxy could know whether
// that was executed.
func (a *application) retire(tb testing.TB) {
	tb.Helper()
	raw, err := a.l.SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // no more than 0 bytes of each packet
	var ferr error
	if err = raw.Control(func(fd uintptr) {
		ferr = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
	}); err != nil || ferr != nil {
		tb.Fatal(err, ferr)
	}
	for waiting := uint32(1); waiting > 0; runtime.Gosched() {
		if err = raw.Control(func(fd uintptr) {
			var info *unix.TCPInfo
			if info, ferr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); ferr == nil {
				waiting = info.Unacked // of a listener: connections to be accepted
			}
		}); err != nil || ferr != nil {
			tb.Fatal(err, ferr)
		}
	}
	_ = a.l.Close()
}
