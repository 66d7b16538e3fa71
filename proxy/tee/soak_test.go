//go:build soak

package tee_test

import "testing"

// TestSoakNothingTruncatedIsCommitted is that with 10,000 responses.
func TestSoakNothingTruncatedIsCommitted(t *testing.T) { truncate(t, 10_000) }

// TestSoakConsumersDoNotDisturb measures to a twentieth. The machine must have
// nothing else to do.
func TestSoakConsumersDoNotDisturb(t *testing.T) { disturb(t, 100<<20, 21, 1.05) }

// TestSoakStuckConsumersHoldNoMoreThanTheBudget has 1,000 responses of 100 MB.
func TestSoakStuckConsumersHoldNoMoreThanTheBudget(t *testing.T) {
	crowd(t, 1000, 100_000_000, 64<<20)
}
