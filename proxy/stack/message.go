package stack

// A Request asks for something, in whichever version it came.
type Request struct {
	Version   Version
	Method    string
	Scheme    string // "http" or "https"
	Authority string // host and port, as the client wrote them; HTTP/1's Host if the target has none
	Path      string // with its query; nothing is decoded or cleaned
	Protocol  string // HTTP/2's :protocol, of an extended CONNECT (RFC 8441)
	Form      Form
	Header    Header // without pseudo-fields, and without those that end at this hop
	Body      Body   // never nil
	Conn      *Conn  // on which it came

	// Class, if it is not nil, says whether a response of that status is a
	// failure, as r's route has it. What it leaves undecided is judged as usual.
	Class func(status int) (failure, decided bool)

	// Interim, if it is not nil, sends the client a 1xx response ahead of the
	// final one. It does not wait for the client, and cannot fail.
	Interim func(status int, h *Header)

	tee tee
}

// A Response answers a Request.
type Response struct {
	Version Version // in which it came; zero if the proxy made it
	Status  int
	Reason  string // HTTP/1's phrase, as received
	Header  Header
	Body    Body // never nil

	// Tunnel is set after 101, or 2xx to CONNECT: from then on the request's
	// body and the response's are the connection's two directions, and io.EOF
	// is the close of a half.
	Tunnel bool

	// Unframed is set if the content ends with its connection: nothing tells a cut
	// from the end.
	Unframed bool

	tee  tee
	held *Exchange // whose it is, should a panic lose it
}

// A Version is the one in which a message came, or is to go.
type Version uint8

// The versions of HTTP that the codecs speak.
const (
	HTTP10 Version = iota + 1
	HTTP11
	HTTP2
)

// String returns the version as HTTP/1 writes it.
func (v Version) String() string {
	switch v {
	case HTTP10:
		return "HTTP/1.0"
	case HTTP11:
		return "HTTP/1.1"
	case HTTP2:
		return "HTTP/2.0"
	default:
		return "HTTP/?"
	}
}

// A Form is that of an HTTP/1 request's target (RFC 9112, section 3.2). It is
// kept because the peer must see the one that the client chose.
type Form uint8

// The forms, by the RFC's names.
const (
	OriginForm    Form = iota // /path?query; an HTTP/2 request's too
	AbsoluteForm              // http://host/path
	AuthorityForm             // host:port, of CONNECT
	AsteriskForm              // *, of OPTIONS
)

// WantsTunnel reports whether r asks to make its connection a tunnel, by CONNECT
// or by an upgrade. Its body then does not end before the answer has come.
func (r *Request) WantsTunnel() bool {
	return r.Method == "CONNECT" || r.Header.Has("upgrade")
}

// Observe shows r's body to o. A second observer joins the first in one wrapper.
// A request whose connection becomes a tunnel is observed to the tunnel's end.
func (r *Request) Observe(o Observer) { r.Body = r.tee.join(r.Body, o) }

// Observe shows r's body to o. It is how anyone learns that an exchange has
// ended. A second observer joins the first in one wrapper. A tunnel is observed
// to its end too: who must leave tunnels alone asks Tunnel first.
func (r *Response) Observe(o Observer) { r.Body = r.tee.join(r.Body, o) }

// Observers returns who is shown r's body. One that has panicked is nil.
func (r *Request) Observers() []Observer { return r.tee.of(r.Body) }

// Observers returns who is shown r's body. One that has panicked is nil.
func (r *Response) Observers() []Observer { return r.tee.of(r.Body) }

// OnPanic has f told what an observer of r's body panics with, while it does.
func (r *Request) OnPanic(f func(cause any)) { r.tee.panicked = f }

// OnPanic has f told what an observer of r's body panics with, while it does.
func (r *Response) OnPanic(f func(cause any)) { r.tee.panicked = f }

// Clone returns a copy of r that shares only its body and its connection. A body
// can be read once: who sends both copies must replace it in one.
func (r *Request) Clone() *Request {
	c := *r
	c.tee = tee{panicked: r.tee.panicked}
	c.Header = r.Header.Clone()
	return &c
}

// Reset makes r the zero Request, but keeps its room for fields.
func (r *Request) Reset() {
	fields := r.Header.recycle()
	*r = Request{}
	r.Header.fields = fields
}

// Reset makes r the zero Response, but keeps its room for fields.
func (r *Response) Reset() {
	if x := r.held; x != nil && x.holds == r {
		x.holds = nil
	}
	fields := r.Header.recycle()
	*r = Response{}
	r.Header.fields = fields
}
