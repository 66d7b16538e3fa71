package codec_test

import (
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

func TestOfOneHop(t *testing.T) {
	for name, want := range map[string]bool{
		"connection": true, "keep-alive": true, "proxy-connection": true, "transfer-encoding": true,
		"http2-settings": true, "upgrade": true,
		"te": false, "trailer": false, "host": false, "content-length": false, "": false, "connection2": false,
	} {
		if got := codec.OfOneHop(name); got != want {
			t.Errorf("%q: %t, want %t", name, got, want)
		}
	}
}

func TestDeclaredLength(t *testing.T) {
	for _, c := range []struct {
		lengths []string
		want    int64
		err     string
	}{
		{nil, -1, ""},
		{[]string{"0"}, 0, ""},
		{[]string{"128"}, 128, ""},
		{[]string{"-1"}, 0, `content-length "-1" cannot be written`},
		{[]string{""}, 0, `content-length "" cannot be written`},
		{[]string{"1", "1"}, 0, `content-length "1" cannot be written`},
	} {
		var h stack.Header
		h.Add("content-type", "7")
		for _, l := range c.lengths {
			h.Add("content-length", l)
		}
		h.Add("x", "9")
		n, err := codec.DeclaredLength(&h)
		if n != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%q: got %d, %v, want %d, %q", c.lengths, n, err, c.want, c.err)
		}
	}
}
