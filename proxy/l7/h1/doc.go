// Package h1 speaks HTTP/1.0 and HTTP/1.1 (RFC 9112) on both sides of the proxy:
// Serve takes requests from a client, a Pool sends them to a server. It knows
// messages and their framing; what is done with a request is package l7's, and
// bytes that are not HTTP are package l4's. Read Serve first.
//
// What it guarantees:
//
// One reading. Whatever two parsers might read differently is refused: by Serve
// with a RequestError's status and a closed connection, by a Pool with a
// ResponseError. So are a bare CR or LF, a folded line, space before a colon or
// before the first field, a name that is not a token, a control character in a
// value; a request line of other than three parts, or with a fragment, a
// backslash or a byte over 0x7e in its target; no Host in HTTP/1.1, two of them, or
// one that is not a host and a port; content-length together with
// transfer-encoding, twice, or not of digits only; a transfer-encoding that is not
// the one word "chunked", or is in HTTP/1.0; a chunk size that is not hex or does
// not fit, a chunk extension with a control character or space ahead of it, or a
// chunk not followed by CRLF. All of it is in docs/http1.md, with the limits.
//
// No smuggling. What is written is framed anew, by Body.Size: content-length if
// it is known, else chunks, or the connection's end for HTTP/1.0. A
// content-length in the Header that says otherwise fails the message, and so
// does a body that ends early or late, or a method, target or field that would end
// its line early. The fields of one hop (connection, those
// it names, keep-alive, proxy-connection, te but for "trailers",
// transfer-encoding, and upgrade but for a tunnel's) are taken off as they are
// read, both ways. Chunk extensions are dropped. A trailer may not carry fields
// that frame, route or authenticate, nor any l5d-* field.
//
// Clean reuse. A connection carries another message only if both bodies of the
// last ended as framed and were read to the end; Serve reads the rest of an
// unread request for that, up to Params.Drain bytes. Bytes that come on an idle
// pooled connection close it: they would be the next response.
//
// No replay. A request is sent again only if no byte of it was taken by the
// connection it was first written to.
//
// Few writes. A head and the content that is at hand leave in one write; nothing
// written waits for something that is not at hand. Responses to pipelined
// requests keep their order, and those that one read's bytes gave rise to leave
// together.
//
// Reading at the reader's pace. A body reads the connection when it is pulled,
// one buffer at most. The first pull of a request's body sends 100 (Continue) if
// the client expects it. A tunnel's bodies are the connection's two directions.
//
// Transparency. Order, values, target form, reason and HTTP/1.0 are kept; names
// are written in lower case. A date is added to a response without one.
// "connection: close" in a Header that a layer set closes the connection after
// that response, and is written.
package h1
