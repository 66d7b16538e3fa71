package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/oklog/run"
	"github.com/spf13/cobra"
)

// The pages by which an application of the demonstration is asked, and told what
// to do. They are not counted.
const (
	countsPath = "/demo/counts"
	delayPath  = "/demo/delay" // ?d=80ms
)

const (
	appWork = 20 * time.Millisecond // that a request takes
	appIdle = time.Minute           // for a client to say something
	appHead = 10 * time.Second      // for a head
	appMost = 1 << 20               // bytes of a request's content
)

// demoAppCommand is one application of the demonstration, which starts it.
func demoAppCommand() *cobra.Command {
	a := &app{}
	var httpAddr, tcpAddr string
	cmd := &cobra.Command{
		Use:    "demo-app",
		Short:  "An application of the demonstration",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.run(cmd.Context(), httpAddr, tcpAddr)
		},
	}
	cmd.Flags().IntVar(&a.number, "number", 1, "its number")
	cmd.Flags().StringVar(&httpAddr, "http", "127.0.0.1:8081", "where it answers HTTP")
	cmd.Flags().StringVar(&tcpAddr, "tcp", "127.0.0.1:9081", "where it sends back what it is sent")
	return cmd
}

// An app answers HTTP and TCP with its name and what it was sent, and counts both.
type app struct {
	number      int
	httpN, tcpN atomic.Int64
	delay       atomic.Int64 // nanoseconds that a request takes beside appWork
}

// appCounts are what an application has executed.
type appCounts struct {
	HTTP int64 `json:"http"`
	TCP  int64 `json:"tcp"`
}

func (a *app) run(ctx context.Context, httpAddr, tcpAddr string) error {
	h, err := new(net.ListenConfig).Listen(ctx, "tcp", httpAddr)
	if err != nil {
		return err
	}
	t, err := new(net.ListenConfig).Listen(ctx, "tcp", tcpAddr)
	if err != nil {
		_ = h.Close()
		return err
	}
	server := &http.Server{Handler: a.pages(), ReadHeaderTimeout: appHead, IdleTimeout: appIdle}
	ctx, stop := context.WithCancel(ctx)
	var g run.Group
	g.Add(func() error { <-ctx.Done(); return nil }, func(error) { stop() })
	g.Add(func() error { return server.Serve(h) }, func(error) { _ = server.Close() })
	g.Add(func() error { return a.serveTCP(ctx, t) }, func(error) { _ = t.Close() })
	return g.Run()
}

func (a *app) pages() http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("GET "+countsPath, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(appCounts{a.httpN.Load(), a.tcpN.Load()})
	})
	pages.HandleFunc("POST "+delayPath, func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.FormValue("d"))
		if err != nil || d < 0 {
			http.Error(w, "d is not a duration, as 80ms", http.StatusBadRequest)
			return
		}
		a.delay.Store(int64(d))
		_, _ = fmt.Fprintf(w, "application %d takes that much longer now\n", a.number)
	})
	pages.HandleFunc("/demo/", http.NotFound) // lest a mistyped page be counted
	pages.HandleFunc("/", a.answer)
	return pages
}

// answer says who answers what, and sends back the content.
func (a *app) answer(w http.ResponseWriter, r *http.Request) {
	a.httpN.Add(1)
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, appMost))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if pause(r.Context(), appWork+time.Duration(a.delay.Load())) != nil {
		return // the client has left
	}
	w.Header().Set("content-type", "text/plain")
	_, _ = io.WriteString(w, greeting(a.number, r.Method+" "+r.URL.Path))
	_, _ = w.Write(content)
}

// greeting is the first line of every answer.
func greeting(number int, to string) string {
	return fmt.Sprintf("application %d answers %s\n", number, to)
}

// echoed is what a connection is greeted with, as a request has its method and path.
const echoed = "with what it is sent"

func (a *app) serveTCP(ctx context.Context, l net.Listener) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			unhook := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer unhook()
			a.echo(ctx, c)
		}()
	}
}

// echo sends back what it is sent, until the client has no more to say.
func (a *app) echo(ctx context.Context, c net.Conn) {
	a.tcpN.Add(1)
	_ = c.SetDeadline(time.Now().Add(appIdle))
	first := make([]byte, 4096)
	n, err := c.Read(first)
	if err != nil || pause(ctx, appWork) != nil {
		return
	}
	if _, err := io.WriteString(c, greeting(a.number, echoed)); err != nil {
		return
	}
	if _, err := c.Write(first[:n]); err != nil {
		return
	}
	_, _ = io.Copy(c, c)
}
