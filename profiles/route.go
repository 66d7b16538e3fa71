package profiles

import (
	"time"

	"github.com/outrigger-mesh/outrigger/discover"
)

// A Route is one resource's rules. The best match among all rules of all routes
// decides; of equal ones, the first. Routes are data: reflect.DeepEqual tells
// whether two say the same.
type Route struct {
	Meta   Meta
	Labels discover.Labels // a ServiceProfile route's own, shown as rt_*
	Hosts  []HostMatch     // none means any; for TLS, what the SNI must be
	Rules  []Rule
}

// A Rule is how the requests that match it are treated.
type Rule struct {
	Matches      []Match // any of them; none means every request
	Filters      []Filter
	Distribution Distribution
	Timeouts     Timeouts
	Retry        Retry
	Classes      []Class // which responses are failures; the first that matches decides
	AllowHeaders bool    // l5d-* request headers may override timeouts and retries

	// Refusal, if it is not empty, is why every request that matches fails: the
	// control plane sent a rule that cannot be obeyed. Nothing else of such a
	// rule counts but what it matches, and that may be more than was meant,
	// never less.
	Refusal string
}

// Timeouts bound a rule's requests. Zero means none.
type Timeouts struct {
	Request  time.Duration // the whole exchange, retries included
	Response time.Duration // from the request's end to the response's end, each try
	Idle     time.Duration // without a frame in either direction
	Profile  time.Duration // a ServiceProfile route's: until the response's head
}

// A Distribution is how a rule's requests are shared among backends.
type Distribution struct {
	Kind   DistributionKind
	Shares []Share
}

// A DistributionKind says how a backend is chosen.
type DistributionKind uint8

// The kinds of distribution.
const (
	NoBackends DistributionKind = iota // every request is refused
	FirstReady                         // the first backend that is ready
	ByWeight                           // by weight, among those that are ready
)

// String returns the kind in words.
func (k DistributionKind) String() string { return name(k, "no backends", "first ready", "by weight") }

// A Share is one backend's part in a Distribution. A weight is never zero in
// ByWeight, where the sum may exceed 32 bits, and means nothing elsewhere.
type Share struct {
	Backend Backend
	Weight  uint32
	Filters []Filter
}

// A Backend takes requests. It is comparable: equal backends share a balancer.
type Backend struct {
	Meta     Meta
	Name     string            // "name:port" to resolve and balance; "" if there is but one endpoint
	Endpoint discover.Endpoint // if Name is ""
	Refusal  string            // if neither: why every request fails
	Load     Load
	Queue    Queue
}

// Load configures a balancer's estimate of latency.
type Load struct {
	DefaultRTT, Decay time.Duration
	Penalty           time.Duration // added to the latency of a failure; zero means none
	MaxRetryAfter     time.Duration // bound on what a Retry-After may add
}

// Queue bounds what waits for a backend. Zero means the configured default.
type Queue struct {
	Capacity uint32
	FailFast time.Duration
}
