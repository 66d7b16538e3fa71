package l7

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/outrigger-mesh/outrigger/profiles"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// An Injected is the failure that a policy's filter answers with in the server's
// stead.
type Injected struct {
	Status  int // HTTP's
	GRPC    int // gRPC's
	Message string
}

// Error implements error.
func (i *Injected) Error() string { return fmt.Sprintf("injected by policy: %s", i.Message) }

// Filters applies a route's or a backend's filters, in order. One that is not
// built yet fails every request: to leave it out could let through what a policy
// forbids.
func Filters(fs []profiles.Filter) stack.Layer[stack.Service] {
	return func(next stack.Service) stack.Service {
		if len(fs) == 0 {
			return next
		}
		return func(ctx context.Context, r *stack.Request) (*stack.Response, error) {
			for i := range fs {
				if err := request(&fs[i], r); err != nil {
					return nil, err
				}
			}
			resp, err := next(ctx, r)
			if err != nil {
				return nil, err
			}
			for i := range fs {
				if fs[i].Kind == profiles.ModifyResponse {
					modify(&fs[i].Headers, &resp.Header)
				}
			}
			return resp, nil
		}
	}
}

func request(f *profiles.Filter, r *stack.Request) error {
	switch f.Kind {
	case profiles.InjectFailure:
		if rand.Uint32N(f.Failure.Denominator) < f.Failure.Numerator { //nolint:gosec // a share of traffic is no secret
			return injected(&f.Failure)
		}
	case profiles.ModifyRequest:
		modify(&f.Headers, &r.Header)
	case profiles.ModifyResponse, profiles.NoFilter:
	case profiles.Redirect, profiles.Forbid, profiles.Reject:
		return fmt.Errorf("filter %v is not supported yet", f)
	}
	return nil
}

// injected is the failure that f stands for. One that is given as a status of HTTP
// is FAILED_PRECONDITION in gRPC, and one of gRPC's is a 200 in HTTP.
func injected(f *profiles.Failure) error {
	if f.GRPC {
		return &Injected{200, int(f.Status), f.Message}
	}
	return &Injected{int(f.Status), stack.GRPCFailedPrecondition, f.Message}
}

func modify(c *profiles.HeaderChange, h *stack.Header) {
	for _, f := range c.Add {
		h.Add(f.Name, f.Value)
	}
	for _, f := range c.Set {
		h.Set(f.Name, f.Value)
	}
	for _, name := range c.Remove {
		h.Del(name)
	}
}
