package stack

// A Kind is what the work on a connection is, for whoever drains it.
type Kind uint8

// The kinds of work.
const (
	Unknown     Kind = iota // nothing has come that says
	HTTP1Work               // requests, one at a time
	HTTP1Tunnel             // what a connection of HTTP/1 has become
	HTTP2Work               // streams
	OpaqueWork              // bytes
)

// A Holder serves a connection, and knows what is in hand on it. Any goroutine may
// ask.
type Holder interface {
	// InHand returns what the connection is, and how much it has in hand: a
	// request, a number of streams, or itself.
	InHand() (Kind, int)

	// Leave asks the client to go elsewhere with what is to come, if there is a
	// way to say so between two requests.
	Leave()
}

// HeldBy says who serves c. Whoever is first stays.
func (c *Conn) HeldBy(h Holder) {
	if c.Outer != nil {
		c.Outer.HeldBy(h)
	}
	if c.holder.Load() == nil {
		c.holder.Store(h)
	}
}

// Holder returns who serves c; nil if it is not known yet what c is. What layers
// have filled in before that may be read.
func (c *Conn) Holder() Holder {
	h, _ := c.holder.Load().(Holder)
	return h
}
