//go:build soak

package proxy

import (
	"testing"
	"time"
)

// TestSoakChanges is TestChangesUnderLoad for minutes.
func TestSoakChanges(t *testing.T) { changes(t, 60) }

// TestSoakOutage is TestOutageUnderLoad with the default time in which a
// destination is dropped, and an outage in which each is idle for half a minute.
func TestSoakOutage(t *testing.T) { outage(t, "5s", 31*time.Second) }

// TestSoakTraffic is TestTraffic with 20,000 requests of each pair.
func TestSoakTraffic(t *testing.T) { runTraffic(t, 20_000) }
