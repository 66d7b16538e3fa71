//go:build soak

package proxy

import (
	"testing"
	"time"
)

// TestSoakFaults is TestFaults with more endpoints than one destination may have.
func TestSoakFaults(t *testing.T) { faults(t, 100_100) }

// TestSoakStorm is TestStorm for longer.
func TestSoakStorm(t *testing.T) { storm(t, 2*time.Minute) }
