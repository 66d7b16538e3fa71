// Command lg is what the bench rig measures proxies with, by the standard library
// alone: load generators, lean servers to stand behind a proxy, and Go's own
// ReverseProxy to stand beside it. It is no tool for testing what is correct:
// its parsers trust their peers.
//
//	lg fix    -proto h1|h2|grpc|tcp -addr A -rate R -conns C -dur D  latency at a constant rate
//	lg rr     -addr A -conns C -size N -dur D                        TCP ping-pong at saturation
//	lg bulk   -addr A -conns C -dur D                                TCP upload
//	lg conn   -addr A -conns C -dur D                                one HTTP/1.1 request a connection
//	lg hold   -addr A -n N -dur D                                    connections that idle after one request
//	lg echo   -addr A                                                server: sends back what it is sent
//	lg sink   -addr A                                                server: forgets what it is sent
//	lg h2be   -addr A -size N                                        server: cleartext HTTP/2
//	lg rp     -proto h1|h2 -listen L -backend B                      net/http/httputil's ReverseProxy
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"time"
)

// options are the flags of all commands; each uses some.
type options struct {
	addr, path, proto    string
	listen, backend      string
	rate, conns, size, n int
	dur                  time.Duration
}

func main() {
	commands := map[string]func(options) error{
		"fix": fix, "rr": pingPong, "bulk": bulk, "conn": connections, "hold": hold,
		"echo": echo, "sink": sink, "h2be": h2Backend, "rp": reverseProxy,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "lg: want one of fix rr bulk conn hold echo sink h2be rp")
		os.Exit(2)
	}
	var o options
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&o.addr, "addr", "127.0.0.1:8000", "where to connect, or to listen as a server")
	flags.StringVar(&o.path, "path", "/s", "what to ask for")
	flags.StringVar(&o.proto, "proto", "h1", "h1, h2, grpc or tcp")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:9000", "where the reverse proxy listens")
	flags.StringVar(&o.backend, "backend", "127.0.0.1:8000", "where the reverse proxy connects")
	flags.IntVar(&o.rate, "rate", 1000, "requests a second")
	flags.IntVar(&o.conns, "conns", 16, "connections")
	flags.IntVar(&o.size, "size", 128, "bytes of a content")
	flags.IntVar(&o.n, "n", 100, "connections to hold")
	flags.DurationVar(&o.dur, "dur", 3*time.Second, "how long")
	_ = flags.Parse(os.Args[2:]) // ends the program itself
	if err := commands[os.Args[1]](o); err != nil {
		fmt.Fprintf(os.Stderr, "lg %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// report prints a result for the rig to read.
func report(result map[string]any) error { return json.NewEncoder(os.Stdout).Encode(result) }

// dial connects, and tries again twice: a proxy may have just been started.
func dial(addr string) (net.Conn, error) {
	for range 2 {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return net.Dial("tcp", addr)
}

// dialAll opens n connections.
func dialAll(addr string, n int) ([]net.Conn, error) {
	conns := make([]net.Conn, n)
	for i := range conns {
		var err error
		if conns[i], err = dial(addr); err != nil {
			return nil, err
		}
	}
	return conns, nil
}
