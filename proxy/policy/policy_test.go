package policy_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/policy"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

func TestDecide(t *testing.T) {
	open := policy.AllUnauthenticated(policy.Detect)
	some := &policy.Policy{Authorizations: []policy.Authorization{
		{policy.Meta{Name: "ten"}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{policy.Meta{Name: "eleven"}, []netip.Prefix{netip.MustParsePrefix("11.0.0.0/8")}},
	}}
	for name, tt := range map[string]struct {
		policy *policy.Policy
		client string
		want   string // the authorization; "" means denied
	}{
		"everyone, v4":                    {open, "192.0.2.1:1", "all-unauthenticated"},
		"everyone, v6":                    {open, "[2001:db8::1]:1", "all-unauthenticated"},
		"the first that admits":           {some, "10.1.2.3:1", "ten"},
		"a later one":                     {some, "11.1.2.3:1", "eleven"},
		"an IPv4 address mapped to IPv6":  {some, "[::ffff:10.1.2.3]:1", "ten"},
		"nobody's":                        {some, "12.1.2.3:1", ""},
		"no authorizations admit nobody":  {&policy.Policy{}, "10.1.2.3:1", ""},
		"an invalid client is not let in": {some, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := netip.ParseAddrPort(tt.client)
			permit, err := tt.policy.Decide(&stack.Conn{Client: client}, nil)
			if permit.Authorization.Name != tt.want || errors.Is(err, policy.ErrDenied) != (tt.want == "") {
				t.Errorf("admitted by %q, %v; want %q", permit.Authorization.Name, err, tt.want)
			}
		})
	}
}
