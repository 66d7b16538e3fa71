package profiles

import (
	"errors"
	"fmt"
	"strings"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
)

var errNoCondition = errors.New("is not set or not known")

// requestMatch decodes a condition. Members of all and any that make no sense
// are left out, as the reference does.
func (d *decoder) requestMatch(p *pb.RequestMatch) (Condition, error) {
	if !d.spend(1) {
		return Condition{}, errTooLarge
	}
	switch k := p.GetMatch().(type) {
	case *pb.RequestMatch_All:
		return Condition{Op: All, Of: seq(d, k.All.GetMatches(), d.requestMatch)}, nil
	case *pb.RequestMatch_Any:
		return Condition{Op: Any, Of: seq(d, k.Any.GetMatches(), d.requestMatch)}, nil
	case *pb.RequestMatch_Not:
		c, err := d.requestMatch(k.Not)
		return Condition{Op: Not, Of: []Condition{c}}, in("not", err)
	case *pb.RequestMatch_Path:
		pattern := strings.TrimSpace(k.Path.GetRegex())
		return Condition{Op: PathRegex, Value: pattern}, in("path.regex", d.regex(pattern))
	case *pb.RequestMatch_Method:
		m, err := method(k.Method)
		if err == nil && m == "" {
			err = in("method", errNoCondition)
		}
		return Condition{Op: MethodIs, Value: m}, err
	default:
		return Condition{}, errNoCondition
	}
}

// seq decodes the members of all and any, and notes those that it leaves out.
func seq[T any](d *decoder, ps []T, decode func(T) (Condition, error)) []Condition {
	var cs []Condition
	for i, p := range ps {
		c, err := decode(p)
		if err != nil {
			d.problem(fmt.Errorf("matches[%d]: %w", i, err))
			continue
		}
		cs = append(cs, c)
	}
	return cs
}

func (d *decoder) classes(ps []*pb.ResponseClass) []Class {
	var classes []Class
	for i, p := range ps {
		c, err := d.responseMatch(p.GetCondition())
		if err != nil {
			d.problem(fmt.Errorf("response_classes[%d].condition: %w", i, err))
			continue
		}
		classes = append(classes, Class{Condition: c, Failure: p.GetIsFailure()})
	}
	return classes
}

func (d *decoder) responseMatch(p *pb.ResponseMatch) (Condition, error) {
	if !d.spend(1) {
		return Condition{}, errTooLarge
	}
	switch k := p.GetMatch().(type) {
	case *pb.ResponseMatch_All:
		return responses(All, seq(d, k.All.GetMatches(), d.responseMatch))
	case *pb.ResponseMatch_Any:
		return responses(Any, seq(d, k.Any.GetMatches(), d.responseMatch))
	case *pb.ResponseMatch_Not:
		c, err := d.responseMatch(k.Not)
		return Condition{Op: Not, Of: []Condition{c}}, in("not", err)
	case *pb.ResponseMatch_Status:
		low, high := k.Status.GetMin(), k.Status.GetMax()
		if low < 100 || low > 999 || high < 100 || high > 999 {
			return Condition{}, fmt.Errorf("status: %d to %d are not both from 100 to 999", low, high)
		}
		return Condition{Op: StatusIn, Min: uint16(low), Max: uint16(high)}, nil
	default:
		return Condition{}, errNoCondition
	}
}

// responses makes one condition of several: none at all says nothing of a
// response.
func responses(op Op, of []Condition) (Condition, error) {
	if len(of) == 0 {
		return Condition{}, in(op.String(), errNoCondition)
	}
	return Condition{Op: op, Of: of}, nil
}
