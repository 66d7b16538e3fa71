// Package codec holds what the codecs of both HTTP versions share: which bytes may
// stand where, the fields that both read alike, the buffers that connections borrow,
// the goroutines that they run on, when a server that cannot be dialled is tried
// again, and the errors that mean the same in both. How messages are framed is
// theirs: packages h1 and h2.
package codec
