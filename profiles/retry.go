package profiles

import (
	"time"

	"github.com/outrigger-mesh/outrigger/control"
)

// Retry says when a request is sent again. The zero Retry never does.
type Retry struct {
	By       RetryBy
	Limit    uint32          // tries after the first, of ByPolicy
	MaxBody  uint32          // bytes of a request's body that are kept to be sent again, of ByPolicy
	Timeout  time.Duration   // of each try but the last, until the response's head; zero means none
	Backoff  control.Backoff // zero means none
	Statuses []StatusRange   // HTTP statuses that are tried again
	Codes    GRPCCodes       // gRPC statuses that are tried again
}

// A RetryBy says by which rules a request is tried again.
type RetryBy uint8

// The two ways to retry that Linkerd knows.
const (
	NoRetry  RetryBy = iota
	ByPolicy         // an outbound policy's: so many times, after a backoff
	ByBudget         // a ServiceProfile's: what its classes call a failure, while the Profile's Budget lasts
)

// String returns the way in a word.
func (r RetryBy) String() string { return name(r, "none", "policy", "budget") }

// A StatusRange is of HTTP statuses, both ends included.
type StatusRange struct{ First, Last uint16 }

// Has reports whether status is in the range.
func (r StatusRange) Has(status int) bool { return int(r.First) <= status && status <= int(r.Last) }

// GRPCCodes is a set of gRPC status codes, one bit each.
type GRPCCodes uint32

// Has reports whether code is in the set.
func (c GRPCCodes) Has(code uint32) bool { return code < 32 && c&(1<<code) != 0 }

// The gRPC codes that a policy can have tried again.
const (
	grpcCancelled         = 1
	grpcDeadlineExceeded  = 4
	grpcResourceExhausted = 8
	grpcInternal          = 13
	grpcUnavailable       = 14
)

// A Budget is a ServiceProfile's bound on retries, as a share of requests. The
// zero Budget allows none.
type Budget struct {
	Ratio  float32       // of retries to requests, 0 to 1000
	MinPer uint32        // retries a second that are always allowed
	TTL    time.Duration // for which a request counts, 1 s to 60 s
}

// Accrual says when an endpoint's breaker trips, and for how long. The zero
// Accrual never does. It is Linkerd's FailureAccrual.
type Accrual struct {
	On          bool
	MaxFailures uint32 // in a row; zero means any number
	// Threshold is the share of successes, in hundredths of a percent, below
	// which the breaker trips; zero means none.
	Threshold   uint16
	Window      time.Duration // over which that share is taken
	MinRequests uint32        // below which it is not
	Backoff     control.Backoff
	RetryAfter  bool   // a Retry-After takes the place of the first delay
	MinReady    uint32 // endpoints that breakers must leave; zero means none
}
