// Package l4 has the layers and handlers that deal in connections and bytes:
// what happens before a connection's protocol is known, and to one that is not
// HTTP. It parses no message and answers none: requests are package l7's. Nor
// does it decide who may connect: that is package policy's.
//
// Read Serve first, which is where every connection comes from; then the layers
// in the order in which a stack has them (Limit, OrigDst, RefuseLoops, Allow,
// Detect), and Forward, which is where one that is not HTTP ends. Conn is how
// all of them, and the codecs, read and write a socket.
package l4
