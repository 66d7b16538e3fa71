//go:build !amd64

package warm

import "unsafe"

// Callers does nothing here.
func Callers() {}

func lines(unsafe.Pointer, uintptr) {}
