//go:build soak

package e2e_test

import "testing"

// TestSoakInterop runs each of gRPC's short interoperability cases 1,000 times.
func TestSoakInterop(t *testing.T) { runInterop(t, 1000) }

// TestSoakMemory is TestMemory with ten thousand, and a thousand.
func TestSoakMemory(t *testing.T) { memory(t, 10_000, 1000) }

// TestSoakDrain is TestDrain with fifty runs.
func TestSoakDrain(t *testing.T) { drains(t, 50) }
