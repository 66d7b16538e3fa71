//go:build !linux

package control

import (
	"net"
	"syscall"
	"time"
)

// setUserTimeout does nothing: only Linux has TCP_USER_TIMEOUT.
func setUserTimeout(syscall.RawConn, time.Duration) error { return nil }

// unheard knows nothing: only Linux tells.
func unheard(*net.TCPConn) int { return 0 }
