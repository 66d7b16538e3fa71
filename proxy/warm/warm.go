// Package warm tells the processor which memory is about to be used, so that it
// is fetched while something else is done. Between two events of one connection
// others are served, and what belongs to it has left the nearer caches by then: to
// come back to it line by line, each when it is missed, takes longer than what is
// done with it. The moment to call these is just before a system call.
//
// None of them reads or changes anything, whatever it is given. They do nothing on
// processors for which nobody has written them.
package warm

import "unsafe"

const line = 64

// Object fetches what p points to.
func Object[T any](p *T) {
	lines(unsafe.Pointer(p), unsafe.Sizeof(*p)/line+1) //nolint:gosec // G103: the address alone is used, and nothing is read there
}
