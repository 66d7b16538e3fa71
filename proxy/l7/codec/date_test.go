package codec_test

import (
	"sync"
	"testing"
	"time"

	"github.com/outrigger-mesh/outrigger/proxy/l7/codec"
)

func TestDate(t *testing.T) {
	var d codec.Date
	start := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for _, c := range []struct {
		t    time.Time
		want string
	}{
		{start, "Sun, 06 Nov 1994 08:49:37 GMT"},
		{start.Add(999 * time.Millisecond), "Sun, 06 Nov 1994 08:49:37 GMT"},
		{start.Add(time.Second), "Sun, 06 Nov 1994 08:49:38 GMT"},
		{start, "Sun, 06 Nov 1994 08:49:37 GMT"}, // a clock may be set back
		{time.Unix(0, 0), "Thu, 01 Jan 1970 00:00:00 GMT"},
	} {
		if got := d.At(c.t.Unix()); got != c.want {
			t.Errorf("%v: got %q, want %q", c.t, got, c.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { d.At(start.Unix()) }); n != 0 {
		t.Errorf("%v allocations within a second", n)
	}
}

// TestDateOfMany sees each of many who ask at once get the second that it asked for.
func TestDateOfMany(t *testing.T) {
	var d codec.Date
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 1000 {
				second := int64(n + i)
				if got, want := d.At(second), time.Unix(second, 0).UTC().Format(time.RFC1123[:25]+" GMT"); got != want {
					t.Errorf("got %q, want %q", got, want)
					return
				}
			}
		})
	}
	all.Wait()
}
