//go:build faults && soak

package proxy

import (
	"testing"
	"time"
)

// TestSoakPanics is TestPanics with each stage by itself, and more panics of each.
func TestSoakPanics(t *testing.T) { runFaults(t, 20, 1, 3*time.Second) }
