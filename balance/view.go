package balance

import (
	"time"

	"github.com/outrigger-mesh/outrigger/discover"
)

// A View is the whole of a balancer at about one moment, for metrics and for
// people. It costs time in proportion to the endpoints.
type View struct {
	Name      string
	Heard     bool // whether the control plane has spoken of it yet
	Exists    bool // whether it knows the destination
	Stale     bool // whether it has been silent since the endpoints were remembered
	Endpoints []EndpointView
	Waiting   int    // picks that wait now
	Waited    uint64 // picks that ever had to
	Gate      Gate   // shut while failing fast
	Updates   uint64 // sets that changed something
}

// An EndpointView is one endpoint of a View.
type EndpointView struct {
	Endpoint discover.Endpoint
	Ready    bool
	RTT      time.Duration // its estimated round trip
	Pending  uint64        // calls in hand
	Load     float64       // RTT in seconds, times Pending plus one
	Picks    uint64        // how often it was picked
}

// View returns how things stand.
func (b *Balancer[S]) View() View {
	m := b.members.Load()
	v := View{
		Name: b.c.Name, Heard: m.heard, Exists: m.exists, Stale: m.stale,
		Endpoints: make([]EndpointView, 0, len(m.all)),
		Waiting:   int(b.queue.waiting.Load()),
		Waited:    b.queue.waited.Load(),
		Gate:      b.queue.gate.Load().Gate,
		Updates:   b.updates.Load(),
	}
	now := b.c.Now()
	for _, e := range m.all {
		rtt, pending := e.load.estimate(now), e.load.pending()
		v.Endpoints = append(v.Endpoints, EndpointView{
			Endpoint: e.of, Ready: e.isReady(), RTT: rtt, Pending: pending,
			Load: rtt.Seconds() * float64(pending+1), Picks: e.load.picked.Load(),
		})
	}
	return v
}
