//go:build !race

package l4

import (
	"crypto/tls"
	"testing"
)

// TestHelloAllocates bounds what a connection's hello costs. (Race builds have pools
// that forget.)
func TestHelloAllocates(t *testing.T) {
	in := firstFlight(t, &tls.Config{ServerName: "web.test"})
	const most = 8 // the connection and its pieces, the room and its growth, and the name
	if n := testing.AllocsPerRun(100, func() { _, _, _ = look(in) }); n > most {
		t.Errorf("%v allocations, want at most %d", n, most)
	}
}
