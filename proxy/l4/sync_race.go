//go:build race

package l4

import "sync/atomic"

// wire orders what was done before a write and what is done after a read for the
// race detector, as package syscall does for its own calls: it cannot see that
// bytes went through the kernel.
var wire atomic.Int64 //nolint:gochecknoglobals // no state: read by nobody, and in race builds only

func aboutToWrite() { wire.Add(1) }
func sawRead()      { wire.Add(1) }
