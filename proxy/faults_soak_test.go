//go:build faults && soak

package proxy

import (
	"testing"
	"time"
)

// TestSoakFaults is TestFaults with more panics of each stage.
func TestSoakFaults(t *testing.T) { runFaults(t, 50, 10*time.Second) }
