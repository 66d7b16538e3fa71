package proxy

import (
	"fmt"
	"strings"
)

// required refuses an environment without a control plane, and warns where it
// lacks what an injected one has.
func (r *envReader) required(c *Config) {
	for _, v := range []struct {
		name    string
		summary error
	}{
		{linkerd + "DESTINATION_SVC_ADDR", ErrNoDestination},
		{linkerd + "POLICY_SVC_ADDR", ErrNoPolicy},
		{linkerd + "POLICY_WORKLOAD", ErrBadVariable},
	} {
		if !r.isSet(v.name) {
			r.mistake(v.summary, v.name+" must be set")
		}
	}
	if !r.isSet(linkerd + "DESTINATION_CONTEXT") {
		r.warn(linkerd+"DESTINATION_CONTEXT", "is not set")
	}
	if !r.isSet(linkerd + "INBOUND_DEFAULT_POLICY") {
		r.warn(linkerd+"INBOUND_DEFAULT_POLICY", "is not set: it is "+c.Policy.Default)
	}
}

// services checks that each service of the control plane can prove who it is,
// where it has to, and says how it is connected to.
func (r *envReader) services(c *Config) {
	for _, s := range []struct {
		name string
		*ControlService
	}{
		{"DESTINATION", &c.Control.Destination},
		{"POLICY", &c.Control.Policy},
		{"IDENTITY", &c.Identity.Service},
		{"TRACE_COLLECTOR", &c.Trace.Collector},
	} {
		addr, name := linkerd+s.name+"_SVC_ADDR", linkerd+s.name+"_SVC_NAME"
		s.Connect = c.Outbound.Connect
		if s.Addr.Loopback() {
			s.Connect = c.Inbound.Connect
		}
		switch {
		case r.isSet(name) && !r.isSet(addr):
			r.refuse(name, fmt.Errorf("%s must be set with it", addr))
		case c.Unmeshed, !r.isSet(addr), r.refused[addr], s.Addr.Loopback(), r.isSet(name):
		default:
			r.refuse(addr, fmt.Errorf("it is not on loopback, so %s must be set with it", name))
		}
	}
}

// identity refuses an environment that has no identity, unless it is unmeshed on
// purpose, or one that is not whole.
func (r *envReader) identity(c *Config) {
	switch {
	case c.Unmeshed, r.refused[unmeshed]:
	case len(r.meshed) == 0:
		r.mistake(ErrNoIdentity, unmeshed+" must be true to run without an identity, in clear text")
	default:
		r.certified(&c.Identity)
	}
}

// certified checks that there is all that is needed to get a certificate.
func (r *envReader) certified(id *Identity) {
	local := linkerd + "IDENTITY_LOCAL_NAME"
	if r.isSet(local) {
		id.ServerID = id.ServerName
	} else {
		r.filled(id.ServerID, linkerd+"IDENTITY_SERVER_ID")
		r.filled(id.ServerName, linkerd+"IDENTITY_SERVER_NAME")
	}
	r.filled(id.TrustAnchors+id.TrustAnchorsFile, linkerd+"IDENTITY_TRUST_ANCHORS")
	if id.SpireAddr == "" {
		r.filled(id.Dir, linkerd+"IDENTITY_DIR")
		r.filled(id.TokenFile, linkerd+"IDENTITY_TOKEN_FILE")
		r.filled(id.Service.Addr.Host, linkerd+"IDENTITY_SVC_ADDR")
		if id.ServerID != "" && id.ServerName != "" && id.ServerID != id.ServerName {
			r.mistake(ErrIdentityNames, fmt.Sprintf("%sIDENTITY_SERVER_ID and _SERVER_NAME are not the same: %s and %s",
				linkerd, quoted(id.ServerID), quoted(id.ServerName)))
		}
		return
	}
	if id.ServerID != "" && !strings.HasPrefix(id.ServerID, "spiffe://") {
		r.mistake(ErrBadVariable, fmt.Sprintf("%sIDENTITY_SERVER_ID=%s is not valid: SPIRE gives out spiffe:// identities alone",
			linkerd, quoted(id.ServerID)))
	}
}

// filled refuses an empty value, unless the variable has been refused already.
func (r *envReader) filled(value, name string) {
	if value == "" && !r.refused[name] {
		r.mistake(ErrBadVariable, name+" must be set")
	}
}

// security refuses the settings that somebody relies on to keep others out, or
// to let some in, and that nothing obeys yet.
func (r *envReader) security(c *Config) {
	const policies = "nothing but " + allUnauthenticated + " is enforced"
	for _, s := range []struct {
		asked     bool
		name, why string
	}{
		{c.Policy.Default != allUnauthenticated, "INBOUND_DEFAULT_POLICY", policies},
		{len(c.Policy.RequireIdentity) > 0, "INBOUND_PORTS_REQUIRE_IDENTITY", policies},
		{len(c.Policy.RequireTLS) > 0, "INBOUND_PORTS_REQUIRE_TLS", policies},
		{len(c.Policy.GatewaySuffixes) > 0, "INBOUND_GATEWAY_SUFFIXES", "there is no gateway"},
		{c.Tap.Client != "", "TAP_SVC_NAME", "there is no tap"},
		{c.Ingress, "INGRESS_MODE", "there is no ingress mode"},
	} {
		if s.asked && !r.refused[linkerd+s.name] {
			r.unbuilt(linkerd+s.name, s.why)
		}
	}
}

// inClear does away with all that is about identity, and says so.
func (r *envReader) inClear(c *Config) {
	if old := linkerd + "IDENTITY_SPIRE_SOCKET"; r.isSet(old) {
		r.warn(old, "is deprecated: "+linkerd+"IDENTITY_SPIRE_WORKLOAD_API_ADDRESS is its name")
	}
	if !c.Unmeshed {
		return
	}
	c.Identity = Identity{}
	for _, name := range r.meshed {
		r.warn(name, "is ignored: "+unmeshed+" is true")
	}
	for _, s := range []struct {
		name string
		*ControlService
	}{{"DESTINATION", &c.Control.Destination}, {"POLICY", &c.Control.Policy}, {"TRACE_COLLECTOR", &c.Trace.Collector}} {
		s.Name = ""
		if s.Addr.Host != "" && !s.Addr.Loopback() {
			r.warn(linkerd+s.name+"_SVC_ADDR", "is spoken to in clear text, and need not prove who it is: "+unmeshed+" is true")
		}
	}
}
