package profiles

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp/syntax"
	"slices"
	"strconv"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/meta"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Limits bound what one answer of the control plane can cost. Both must be
// positive: of an answer that is over a limit nothing, or little, is obeyed.
type Limits struct {
	// Pattern is the longest regular expression, in bytes.
	Pattern int
	// Parts is the most that a profile or a policy may consist of: routes, rules,
	// matches (once for each host of their route), filters, backends and so on,
	// and the instructions of compiled regular expressions. Each costs some
	// hundred bytes.
	Parts int
}

// A decoder turns one message into the model. Of what is invalid it keeps the
// rest: a rule or a backend that cannot be obeyed refuses its requests, and says
// why.
type decoder struct {
	limits   Limits
	local    []netip.Addr // this pod's own addresses
	at       string       // the path of the field that is being decoded
	parts    int          // counted so far
	problems []string
}

// maxProblems is how many things a person is told of at once.
const maxProblems = 16

// maxQuoted is how much of the control plane's text goes into an error.
const maxQuoted = 128

var errTooLarge = errors.New("it has too many parts")

// spend counts n parts, and reports whether there are still few enough.
func (d *decoder) spend(n int) bool {
	d.parts += min(n, d.limits.Parts+1)
	return !d.tooLarge()
}

func (d *decoder) tooLarge() bool { return d.parts > d.limits.Parts }

// enter makes field the one that is being decoded, until leave is called.
func (d *decoder) enter(field string) (leave func()) {
	outer := d.at
	if d.at != "" {
		field = "." + field
	}
	d.at += field
	return func() { d.at = outer }
}

// enterItem is enter for an item of a list.
func (d *decoder) enterItem(list string, i int) (leave func()) {
	return d.enter(list + "[" + strconv.Itoa(i) + "]")
}

// problem notes that something in the field that is being decoded is invalid,
// and returns it in words. A nil err is no problem.
func (d *decoder) problem(err error) string {
	if err == nil {
		return ""
	}
	text := in(d.at, err).Error()
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, text)
	}
	return text
}

// all decodes each of items, which are what field holds. It returns what decode
// returned for each, valid or not, and the first error with its place.
func all[T, V any](d *decoder, field string, items []T, decode func(T) (V, error)) ([]V, error) {
	var values []V
	var first error
	for i, item := range items {
		if !d.spend(1) {
			return nil, errTooLarge
		}
		v, err := decode(item)
		if err != nil && first == nil {
			first = fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		values = append(values, v)
	}
	return values, first
}

// in puts field before the path in err, if there are both.
func in(field string, err error) error {
	if err == nil || field == "" {
		return err
	}
	return fmt.Errorf("%s: %w", field, err)
}

// quote returns s in quotes, cut if it is long.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.Quote(s[:maxQuoted]) + "…"
	}
	return strconv.Quote(s)
}

// meta decodes the name of a resource. Names are for people: without one the
// rest can still be obeyed.
func (d *decoder) meta(m *pb.Metadata) Meta {
	r := m.GetResource()
	switch {
	case m.GetDefault() != "":
		return Default(m.GetDefault())
	case r.GetGroup() == "", r.GetKind() == "", r.GetName() == "", r.GetNamespace() == "":
		d.problem(errors.New("metadata: names no resource"))
		return Default("unknown")
	case r.GetPort() > math.MaxUint16:
		d.problem(fmt.Errorf("metadata.resource.port: %d is over 65535", r.GetPort()))
		r = &pb.Resource{Group: r.GetGroup(), Kind: r.GetKind(), Name: r.GetName(), Namespace: r.GetNamespace(), Section: r.GetSection()}
	}
	return Meta{
		Group:     r.GetGroup(),
		Kind:      r.GetKind(),
		Namespace: r.GetNamespace(),
		Name:      r.GetName(),
		Section:   r.GetSection(),
		Port:      uint16(r.GetPort()),
	}
}

// duration decodes a duration that may be absent, which is zero.
func duration(field string, p *durationpb.Duration) (time.Duration, error) {
	if p == nil {
		return 0, nil
	}
	if err := p.CheckValid(); err != nil {
		return 0, fmt.Errorf("%s: %w", field, err)
	}
	if p.AsDuration() < 0 {
		return 0, fmt.Errorf("%s: %v is negative", field, p.AsDuration())
	}
	return p.AsDuration(), nil
}

// regex tells what keeps pattern from being used, if anything.
func (d *decoder) regex(pattern string) error {
	if len(pattern) > d.limits.Pattern {
		return fmt.Errorf("regular expression of %d bytes, over %d", len(pattern), d.limits.Pattern)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err == nil {
		// Alone it may be right and still break out of the anchors, as \Qa does.
		_, err = syntax.Parse(anchored(pattern), syntax.Perl)
	}
	if wrong := (*syntax.Error)(nil); errors.As(err, &wrong) {
		return fmt.Errorf("regular expression %s: %s", quote(pattern), wrong.Code)
	}
	if !d.spend(instructions(parsed)) {
		return errTooLarge
	}
	return nil
}

// anchored returns the pattern that takes what pattern takes as a whole.
func anchored(pattern string) string { return `^(?:` + pattern + `)$` }

// instructions estimates the size of re once it is compiled: what repeats is
// compiled as many times over.
func instructions(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	if re.Op == syntax.OpCharClass {
		n = 1
	}
	for _, sub := range re.Sub {
		n += instructions(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}

// token reports whether s can be a header's name or a method (RFC 9110, section
// 5.6.2).
func token(s string) bool {
	return s != "" && !slices.ContainsFunc([]byte(s), func(c byte) bool { return !tokenByte(c) })
}

func tokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return slices.Contains([]byte("!#$%&'*+-.^_`|~"), c)
}
