//go:build race

package h2_test

// raced tests do not look at the time that the processor takes: the detector takes
// several times as much.
const raced = true
