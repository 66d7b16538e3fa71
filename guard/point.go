//go:build faults

package guard

import "sync/atomic"

// Faults is whether this is a build whose stages a test can have panic.
const Faults = true

// fault is what Point calls.
var fault atomic.Pointer[func(stage string)] //nolint:gochecknoglobals // of a test build, where no stage can be left out

// SetFault has f called whenever a stage comes by its Point; nil for nobody. f may
// panic.
func SetFault(f func(stage string)) {
	if f == nil {
		fault.Store(nil)
		return
	}
	fault.Store(&f)
}

// Point is where this build can be made to panic: at the stage of that name.
func Point(stage string) {
	if f := fault.Load(); f != nil {
		(*f)(stage)
	}
}
