package proxy

import (
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/discover"
)

// TestHTTP2Params sees that what is set arrives at the connections that it is for.
func TestHTTP2Params(t *testing.T) {
	const in = "LINKERD2_PROXY_INBOUND_SERVER_HTTP2_"
	c, _ := mustRead(t, leastWith(
		in+"INITIAL_STREAM_WINDOW_SIZE=70001", in+"INITIAL_CONNECTION_WINDOW_SIZE=70002",
		in+"KEEP_ALIVE_INTERVAL=3s", in+"KEEP_ALIVE_TIMEOUT=4s", in+"MAX_CONCURRENT_STREAMS=5", in+"MAX_FRAME_SIZE=20006",
		in+"MAX_HEADER_LIST_SIZE=4007", in+"MAX_PENDING_ACCEPT_RESET_STREAMS=8", in+"MAX_SEND_BUF_SIZE=9000",
		"LINKERD2_PROXY_HTTP2_INITIAL_STREAM_WINDOW_SIZE=80001", "LINKERD2_PROXY_HTTP2_INITIAL_CONNECTION_WINDOW_SIZE=80002",
		"OUTRIGGER_HTTP_HEAD_BYTES=5000"))
	p := &Proxy{Config: c}
	s := p.h2Params(&p.Config.Inbound)
	if s.StreamWindow != 70001 || s.ConnWindow != 70002 || s.KeepAliveInterval != 3*time.Second || s.KeepAliveTimeout != 4*time.Second ||
		!s.KeepAliveWhileIdle || s.MaxStreams != 5 || s.MaxFrameSize != 20006 || s.HeadBytes != 4007 || s.MaxResets != 8 || s.MaxSendBuffer != 9000 {
		t.Errorf("clients of inbound: %+v", s)
	}
	if s = p.h2Params(&p.Config.Outbound); s.HeadBytes != 5000 || s.MaxResets != 0 || s.MaxStreams != 1000 || s.StreamWindow != 65535 {
		t.Errorf("clients of outbound: %+v", s)
	}
	client := p.h2Client(&p.Config.Inbound)
	if s = client(discover.HTTP2Params{}); s.StreamWindow != 80001 || s.ConnWindow != 80002 || s.HeadBytes != 5000 || s.KeepAliveInterval != 0 || s.MaxStreams != 0 {
		t.Errorf("servers: %+v", s)
	}
	if s = client(discover.HTTP2Params{StreamWindow: 90001}); s.StreamWindow != 90001 || s.ConnWindow != 80002 {
		t.Errorf("a server of which the control plane speaks: %+v", s)
	}
}

// TestHTTP2HeadBytes: what no variable may ask for is not had by the other.
func TestHTTP2HeadBytes(t *testing.T) {
	for size, want := range map[string]int{"0": 65536, "4294967295": maxHeadBytes} {
		c, _ := mustRead(t, leastWith("LINKERD2_PROXY_OUTBOUND_SERVER_HTTP2_MAX_HEADER_LIST_SIZE="+size))
		p := &Proxy{Config: c}
		if got := p.h2Params(&p.Config.Outbound).HeadBytes; got != want {
			t.Errorf("%s: %d bytes, want %d", size, got, want)
		}
	}
}
