package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
)

// reverseProxy is what a proxy of the standard library would be: the peer that
// shows what codecs of one's own are worth.
func reverseProxy(o options) error {
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	return newReverseProxy(o.proto, o.backend).Serve(l)
}

func newReverseProxy(proto, backend string) *http.Server {
	only := new(http.Protocols)
	only.SetHTTP1(proto == "h1")
	only.SetUnencryptedHTTP2(proto == "h2")
	to := &url.URL{Scheme: "http", Host: backend}
	silent := log.New(io.Discard, "", 0)
	return &http.Server{
		ErrorLog:  silent,
		Protocols: only,
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: 1000},
		Handler: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(to)
				r.Out.Host = r.In.Host
			},
			Transport: &http.Transport{
				Protocols:           only,
				MaxIdleConnsPerHost: 4000, // or it would close most after each request
				DisableCompression:  true,
				WriteBufferSize:     8 << 10,
				ReadBufferSize:      8 << 10,
			},
			BufferPool: &buffers{},
			ErrorLog:   silent,
		},
	}
}

// buffers are what bodies are copied through.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
