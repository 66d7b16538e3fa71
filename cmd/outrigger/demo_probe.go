package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
)

// A probe sees whether a process has begun to serve: it connects and, if there is
// a path, asks for it.
type probe struct{ addr, path string }

func (p probe) try(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, demoAnswer)
	defer stop()
	if p.path != "" {
		_, err := fetch(ctx, p.addr, p.path)
		return err
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return err
	}
	return c.Close()
}

// mostFetched bounds what fetch reads, in bytes.
const mostFetched = 16 << 20

// fetch asks a process of the demonstration for a page of its own, on a
// connection of its own.
func fetch(ctx context.Context, addr, path string) ([]byte, error) {
	return ask(ctx, http.MethodGet, addr, path)
}

func ask(ctx context.Context, method, addr, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostFetched))
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", addr, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s%s: %s", addr, path, resp.Status)
	}
	return text, nil
}
