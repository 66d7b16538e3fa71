package h1

import (
	"errors"
	"fmt"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// writeHead appends r's head to what is to be sent.
func (c *conn) writeHead(r *stack.Request) error {
	o := &c.out
	o.borrow()
	if err := o.requestLine(r); err != nil {
		return err
	}
	if !r.Header.Has("host") && (r.Version != stack.HTTP10 || r.Form == stack.AbsoluteForm) {
		o.field("host", r.Authority)
	}
	if err := o.fields(&r.Header, hopField); err != nil {
		return err
	}
	if up := r.Header.Get("upgrade"); up != "" {
		o.text("connection: upgrade\r\n")
		o.field("upgrade", up)
	}
	err := c.frameRequest(r)
	o.text("\r\n")
	return err
}

// requestLine appends r's first line. What came by another version's parser, or
// from a layer, is looked at again: it must not end its part early.
func (o *output) requestLine(r *stack.Request) error {
	if r.Method == "" || !codec.All(r.Method, codec.Token) || !codec.All(r.Scheme, codec.Token) || !codec.All(r.Authority, codec.Target) || !codec.All(r.Path, codec.Target) {
		return fmt.Errorf("request line cannot be written: %s %s %s", codec.Quoted(r.Method), codec.Quoted(r.Authority), codec.Quoted(r.Path))
	}
	o.text(r.Method)
	o.text(" ")
	switch r.Form {
	case stack.AbsoluteForm:
		o.text(r.Scheme)
		o.text("://")
		o.text(r.Authority)
		o.text(r.Path)
	case stack.AuthorityForm:
		o.text(r.Authority)
	case stack.OriginForm, stack.AsteriskForm:
		o.text(r.Path)
	}
	if r.Version == stack.HTTP10 {
		o.text(" HTTP/1.0\r\n")
	} else {
		o.text(" HTTP/1.1\r\n")
	}
	return nil
}

func (c *conn) frameRequest(r *stack.Request) error {
	size, known := r.Body.Size()
	if r.WantsTunnel() {
		c.out.kind = byEnd
		return nil
	}
	if !known && r.Version == stack.HTTP10 {
		return errors.New("a content of unknown length in HTTP/1.0")
	}
	return c.out.frame(&r.Header, size, known, false)
}
