//go:build !faults

package guard

// Faults is whether this is a build whose stages a test can have panic.
const Faults = false

// Point is where a test build (tag faults) can be made to panic: at the stage of that
// name. Here it does nothing, and costs nothing.
func Point(string) {}
