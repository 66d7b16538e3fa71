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
	var at appAddrs
	cmd := &cobra.Command{
		Use:    "demo-app",
		Short:  "An application of the demonstration",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.run(cmd.Context(), at)
		},
	}
	cmd.Flags().IntVar(&a.number, "number", 1, "its number")
	cmd.Flags().StringVar(&at.web, "web", "127.0.0.1:8081", "where it answers HTTP/1.1, as web and books")
	cmd.Flags().StringVar(&at.shop, "shop", "127.0.0.1:8181", "where it answers HTTP/1.1, as shop")
	cmd.Flags().StringVar(&at.feed, "feed", "127.0.0.1:8281", "where it answers HTTP/2, and no HTTP/1")
	cmd.Flags().StringVar(&at.chat, "chat", "127.0.0.1:8381", "where it answers gRPC")
	cmd.Flags().StringVar(&at.db, "db", "127.0.0.1:9081", "where it sends back what it is sent")
	return cmd
}

// An app answers with its name and what it was sent, and counts what it does.
type app struct {
	number                          int
	webN, shopN, feedN, chatN, tcpN atomic.Int64
	delay                           atomic.Int64 // nanoseconds that a request takes beside appWork
}

// appAddrs are where an application listens: web is for books too.
type appAddrs struct{ web, shop, feed, chat, db string }

// appCounts are what an application has executed, by the port at which it was asked.
type appCounts struct {
	Web  int64 `json:"web"` // and books
	Shop int64 `json:"shop"`
	Feed int64 `json:"feed"`
	Chat int64 `json:"chat"`
	DB   int64 `json:"db"`
}

func (a *app) run(ctx context.Context, at appAddrs) error {
	ls, err := listenAll(ctx, at.web, at.shop, at.feed, at.chat, at.db)
	if err != nil {
		return err
	}
	only2 := new(http.Protocols)
	only2.SetUnencryptedHTTP2(true)
	ctx, stop := context.WithCancel(ctx)
	var g run.Group
	g.Add(func() error { <-ctx.Done(); return nil }, func(error) { stop() })
	for i, s := range []*http.Server{
		{Handler: a.pages()},
		{Handler: a.answer(&a.shopN)},
		{Handler: a.answer(&a.feedN), Protocols: only2},
	} {
		s.ReadHeaderTimeout, s.IdleTimeout = appHead, appIdle
		g.Add(func() error { return s.Serve(ls[i]) }, func(error) { _ = s.Close() })
	}
	chat := a.chatServer()
	g.Add(func() error { return chat.Serve(ls[3]) }, func(error) { chat.Stop() })
	g.Add(func() error { return a.serveTCP(ctx, ls[4]) }, func(error) { _ = ls[4].Close() })
	return g.Run()
}

// listenAll listens at all addresses, or at none.
func listenAll(ctx context.Context, addrs ...string) ([]net.Listener, error) {
	var all []net.Listener
	for _, addr := range addrs {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			for _, l := range all {
				_ = l.Close()
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func (a *app) pages() http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("GET "+countsPath, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(appCounts{a.webN.Load(), a.shopN.Load(), a.feedN.Load(), a.chatN.Load(), a.tcpN.Load()})
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
	pages.HandleFunc("/", a.answer(&a.webN))
	return pages
}

// answer says who answers what, and sends back the content.
func (a *app) answer(counter *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		counter.Add(1)
		content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, appMost))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if a.work(r.Context()) != nil {
			return // the client has left
		}
		w.Header().Set("content-type", "text/plain")
		_, _ = io.WriteString(w, greeting(a.number, r.Method+" "+r.URL.Path+" of "+r.Proto))
		_, _ = w.Write(content)
	}
}

// work takes as long as a request does. It returns an error if ctx is done before.
func (a *app) work(ctx context.Context) error {
	return pause(ctx, appWork+time.Duration(a.delay.Load()))
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
