// Package h2 speaks HTTP/2 (RFC 9113) on both sides of the proxy, by prior
// knowledge: Serve takes requests from a client, a Pool sends them to a server. It
// knows frames, streams and their flow control; what is done with a request is
// package l7's. Read Serve first, then Pool, then conn, which both share.
//
// What it guarantees:
//
// One reading. Header blocks, frames and streams that RFC 9113 does not allow are
// answered with its error, on the stream where it says so and else on the
// connection. So are, beyond it: a host that is not the authority, an authority
// with userinfo, and a content that is not as long as its head declares. All of it
// is in docs/http2.md, with the limits.
//
// Bounds. What a peer sends is counted before it is kept: a head's decoded size, a
// body's windows, and by budgets whatever costs a peer less than it costs the
// proxy: resets, by either side, CONTINUATION, SETTINGS, PING, PRIORITY, empty
// DATA, WINDOW_UPDATE. A peer that does not read what it has asked for is not read
// from either.
//
// Codes pass. A stream that one peer resets is reset at the other with its code; a
// stack.ResetError carries it.
//
// No replay. A request is sent again only if its server said that it has not begun
// on it, by GOAWAY or REFUSED_STREAM, and nothing of its body is gone.
//
// Few writes. What one batch of received frames gives rise to, on all connections,
// leaves with one write for each: see Scheduler.
//
// Reading at the reader's pace. A peer gets credit for a chunk when the next is
// asked for, on the stream and on the connection: streams that nobody reads can use
// a connection's whole window up, which bounds what they hold.
package h2
