package warm

import "unsafe"

// Callers fetches the 2.5 KiB of the stack that its callers have used: what a
// goroutine returns through that has waited.
//
//go:noescape
func Callers()

//go:noescape
func lines(p unsafe.Pointer, n uintptr)
