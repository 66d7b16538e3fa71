//go:build faults && soak

package proxy

import (
	"testing"
	"time"
)

// TestSoakFaults is TestFaults with each stage by itself, and more panics of each.
func TestSoakFaults(t *testing.T) { runFaults(t, 20, 1, 3*time.Second) }
