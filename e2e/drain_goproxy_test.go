package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"syscall"
)

// goProxyMain is a proxy of the standard library, which ends as that means it to.
func goProxyMain(args []string) int {
	s := &http.Server{Addr: args[0], Handler: &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: args[1]}) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 1000},
	}}
	term, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	over := make(chan error, 1)
	go func() { <-term.Done(); over <- s.Shutdown(context.Background()) }()
	err := s.ListenAndServe()
	if err == http.ErrServerClosed {
		err = <-over
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
