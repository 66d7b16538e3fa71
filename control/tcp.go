package control

import (
	"net"
	"syscall"
	"time"
)

// TCP are the settings of connections to the control plane. TCP_NODELAY is
// always on.
type TCP struct {
	KeepAlive   time.Duration // idle time before a probe; zero means the system's
	UserTimeout time.Duration // TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged; zero means the system's
}

func (t TCP) dialer(connect time.Duration) *net.Dialer {
	d := &net.Dialer{
		Timeout: connect,
		// Less than zero leaves a setting to the system.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1},
	}
	if t.KeepAlive > 0 {
		d.KeepAliveConfig.Idle = t.KeepAlive
	}
	if t.UserTimeout > 0 {
		d.Control = func(_, _ string, c syscall.RawConn) error { return setUserTimeout(c, t.UserTimeout) }
	}
	return d
}
