package balance_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/outrigger-mesh/outrigger/balance"
	"github.com/outrigger-mesh/outrigger/discover"
)

// The S of this balancer is an address; a proxy's is a client of it.
func ExampleNew() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	build := func(_ context.Context, e discover.Endpoint, _ func()) (string, func() bool) {
		return e.Addr.String(), nil // always ready
	}
	b := balance.New(ctx, balance.Config{
		Name:       "web.demo.svc.cluster.local:80",
		DefaultRTT: 30 * time.Millisecond,
		Decay:      10 * time.Second,
		FailFast:   3 * time.Second,
		Capacity:   10_000,
	}, build)

	// One goroutine tells of endpoints as the control plane does of them.
	b.Update(discover.Set{Exists: true, Endpoints: []discover.Endpoint{
		{Addr: netip.MustParseAddrPort("10.1.0.7:8080"), Weight: 10_000},
	}})

	// Any number pick.
	server, call, err := b.Pick(ctx, balance.Hint{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("send it to", server)
	call.First()                           // when the response's first data comes
	call.End(balance.Outcome{Status: 200}) // when it has been read to the end
	// Output: send it to 10.1.0.7:8080
}
