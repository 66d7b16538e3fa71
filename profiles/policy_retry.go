package profiles

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"

	"github.com/outrigger-mesh/outrigger/control"
)

func (d *decoder) httpRetry(p *pb.HttpRoute_Retry) (Retry, error) {
	if p == nil {
		return Retry{}, nil
	}
	r := Retry{By: ByPolicy, Limit: p.GetMaxRetries(), MaxBody: p.GetMaxRequestBytes()}
	var errs [5]error
	if r.Limit > math.MaxUint16 {
		errs[0] = fmt.Errorf("max_retries: %d is over 65535", r.Limit)
	}
	if p.GetConditions() == nil {
		errs[1] = errors.New("conditions: missing")
	}
	r.Timeout, errs[2] = duration("timeout", p.GetTimeout())
	r.Backoff, errs[3] = backoff(p.GetBackoff())
	r.Statuses, errs[4] = all(d, "conditions.status_ranges", p.GetConditions().GetStatusRanges(), statusRange)
	return r, in("retry", cmp.Or(errs[:]...))
}

func statusRange(p *pb.HttpRoute_Retry_Conditions_StatusRange) (StatusRange, error) {
	if p.GetStart() < 1 || p.GetStart() > p.GetEnd() || p.GetEnd() > 599 {
		return StatusRange{}, fmt.Errorf("%d to %d is not a range within 1 to 599", p.GetStart(), p.GetEnd())
	}
	return StatusRange{uint16(p.GetStart()), uint16(p.GetEnd())}, nil
}

func (d *decoder) grpcRetry(p *pb.GrpcRoute_Retry) (Retry, error) {
	if p == nil {
		return Retry{}, nil
	}
	r := Retry{By: ByPolicy, Limit: p.GetMaxRetries(), MaxBody: p.GetMaxRequestBytes()}
	var errs [3]error
	if p.GetConditions() == nil {
		errs[0] = errors.New("conditions: missing")
	}
	r.Timeout, errs[1] = duration("timeout", p.GetTimeout())
	r.Backoff, errs[2] = backoff(p.GetBackoff())
	r.Codes = grpcCodes(p.GetConditions())
	return r, in("retry", cmp.Or(errs[:]...))
}

func grpcCodes(p *pb.GrpcRoute_Retry_Conditions) GRPCCodes {
	var c GRPCCodes
	for code, on := range map[uint32]bool{
		grpcCancelled:         p.GetCancelled(),
		grpcDeadlineExceeded:  p.GetDeadineExceeded(),
		grpcResourceExhausted: p.GetResourceExhausted(),
		grpcInternal:          p.GetInternal(),
		grpcUnavailable:       p.GetUnavailable(),
	} {
		if on {
			c |= 1 << code
		}
	}
	return c
}

// backoff decodes one that may be absent, which is zero.
func backoff(p *pb.ExponentialBackoff) (control.Backoff, error) {
	if p == nil {
		return control.Backoff{}, nil
	}
	b := control.Backoff{Jitter: float64(p.GetJitterRatio())}
	var errs [3]error
	b.Min, errs[0] = duration("min_backoff", p.GetMinBackoff())
	b.Max, errs[1] = duration("max_backoff", p.GetMaxBackoff())
	errs[2] = b.Validate()
	if err := cmp.Or(errs[:]...); err != nil {
		return control.Backoff{}, in("backoff", err)
	}
	return b, nil
}

// The reference's figures for a breaker by success rate.
const (
	defaultWindow  = 10 * time.Second
	minWindow      = 10 * time.Millisecond
	maxMinRequests = 1_000_000
	basisPoints    = 10_000 // in one
)

// accrual decodes when breakers trip. If that makes no sense they never do: to
// serve without breakers is better than to refuse.
func (d *decoder) accrual(p *pb.FailureAccrual) Accrual {
	if p == nil {
		return Accrual{}
	}
	var a Accrual
	var err error
	switch k := p.GetKind().(type) {
	case *pb.FailureAccrual_ConsecutiveFailures_:
		a, err = accrualBackoff(Accrual{MaxFailures: k.ConsecutiveFailures.GetMaxFailures()}, k.ConsecutiveFailures.GetBackoff())
		err = in("consecutive_failures", err)
	case *pb.FailureAccrual_Unified_:
		a, err = unified(k.Unified)
		err = in("unified", err)
	default:
		err = errUnknownKind
	}
	if err != nil {
		d.problem(in("failure_accrual", err))
		return Accrual{}
	}
	a.On, a.MinReady = true, p.GetEjection().GetMinReadyEndpoints()
	return a
}

func accrualBackoff(a Accrual, p *pb.ExponentialBackoff) (Accrual, error) {
	if p == nil {
		return a, errors.New("backoff: missing")
	}
	var err error
	a.RetryAfter = p.GetRespectRetryAfterHint()
	a.Backoff, err = backoff(p)
	return a, err
}

func unified(p *pb.FailureAccrual_Unified) (Accrual, error) {
	threshold := p.GetSuccessRateThreshold()
	if math.IsNaN(threshold) || threshold < 0 || threshold > 1 {
		return Accrual{}, fmt.Errorf("success_rate_threshold: %v is not between 0 and 1", threshold)
	}
	window, err := duration("decay", p.GetDecay())
	if err != nil {
		return Accrual{}, err
	}
	if p.GetDecay() == nil {
		window = defaultWindow
	}
	if window < minWindow && threshold > 0 {
		return Accrual{}, fmt.Errorf("decay: %v is under %v", window, minWindow)
	}
	if p.GetMinRequests() > maxMinRequests {
		return Accrual{}, fmt.Errorf("min_requests: %d is over %d", p.GetMinRequests(), maxMinRequests)
	}
	return accrualBackoff(Accrual{
		MaxFailures: p.GetMaxConsecutiveFailures(),
		Threshold:   uint16(math.Round(threshold * basisPoints)),
		Window:      window,
		MinRequests: p.GetMinRequests(),
	}, p.GetBackoff())
}
