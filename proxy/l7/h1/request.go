package h1

import (
	"errors"
	"fmt"

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
	if r.Method == "" || !all(r.Method, tokenByte) || !all(r.Scheme, tokenByte) || !all(r.Authority, targetByte) || !all(r.Path, targetByte) {
		return fmt.Errorf("request line cannot be written: %s %s %s", quoted(r.Method), quoted(r.Authority), quoted(r.Path))
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
