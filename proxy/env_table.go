package proxy

import (
	"net/netip"
	"time"

	"github.com/outrigger-mesh/outrigger/control"
)

// The beginnings of variables' names.
const (
	linkerd   = "LINKERD2_PROXY_"
	outrigger = "OUTRIGGER_"
)

// A Var is one variable of the environment, as help and docs/config.md show it.
type Var struct {
	Section string
	Name    string // in full
	Alias   string // another spelling, read if Name is not set; or ""
	Type    string // one of the grammars of docs/config.md
	Default string // as it would be written; "" for none
	Unit    string // of a number; "" if it has none, or is written with it
	Meaning string
	Obeyed  Obeyed
}

// Obeyed says what becomes of a variable that is set. A value that its type
// does not allow stops the start in any case.
type Obeyed string

// What becomes of a variable.
const (
	obeyed         Obeyed = "yes"
	obeyedNotYet   Obeyed = "not yet: warned of"
	obeyedTraces   Obeyed = "not yet: nothing without traces"
	obeyedRefused  Obeyed = "not yet: refused"
	obeyedIdentity Obeyed = "yes, unless unmeshed: then ignored"
	obeyedNever    Obeyed = "never read, as by linkerd2-proxy"
)

// Vars returns all variables, in the order of docs/config.md.
func Vars() []Var {
	var vars []Var
	for _, v := range newEnvTable(new(Config)).vars {
		if !v.fixed {
			vars = append(vars, v.Var)
		}
	}
	return vars
}

// An envVar is a Var and the part of a Config that it sets.
type envVar struct {
	Var
	fixed   bool // no variable at all: its default holds, and its name is the Config's
	lenient bool // a bad value is warned of, and counts as none
	set     func(text string) error
}

func (v *envVar) notYet() *envVar   { v.Obeyed = obeyedNotYet; return v }
func (v *envVar) identity() *envVar { v.Obeyed = obeyedIdentity; return v }
func (v *envVar) traces()           { v.Obeyed = obeyedTraces }
func (v *envVar) refused()          { v.Obeyed = obeyedRefused }
func (v *envVar) never()            { v.Obeyed = obeyedNever }
func (v *envVar) leniently()        { v.lenient = true }
func (v *envVar) alias(name string) { v.Alias = name }

func (v *envVar) in(unit string) *envVar { v.Unit = unit; return v }

// An envTable is every variable, bound to one Config, as a flag.FlagSet is.
type envTable struct {
	vars    []*envVar
	heading string // of the variables that come next
	prefix  string // of their names
	fixed   bool
}

// newEnvTable binds every variable to its part of c.
func newEnvTable(c *Config) *envTable {
	t := &envTable{prefix: linkerd}
	t.own(c)
	t.listenersOf(c)
	t.lifecycle(c)
	t.modes(c)
	t.queues(c)
	t.connecting(c)
	t.pools(c)
	t.http2(c)
	t.controlPlane(c)
	t.policy(c)
	t.identity(c)
	t.tracing(c)
	t.logging(c)
	t.fixtures(c)
	return t
}

func (t *envTable) section(heading, prefix string) { t.heading, t.prefix = heading, prefix }

// bind adds a variable whose text is parsed into a part of the Config.
func bind[T any](t *envTable, kind string, parse func(string) (T, error), into *T, name, def, meaning string) *envVar {
	v := &envVar{
		Var: Var{
			Section: t.heading, Name: t.prefix + name, Type: kind,
			Default: def, Meaning: meaning, Obeyed: obeyed,
		},
		fixed: t.fixed,
		set: func(text string) error {
			value, err := parse(text)
			if err == nil {
				*into = value
			}
			return err
		},
	}
	t.vars = append(t.vars, v)
	return v
}

func (t *envTable) duration(into *time.Duration, name, def, meaning string) *envVar {
	return bind(t, "duration", parseDuration, into, name, def, meaning)
}

func (t *envTable) optDuration(into *time.Duration, name, meaning string) {
	bind(t, "opt-duration", parseOptDuration, into, name, "", meaning)
}

func (t *envTable) boolean(into *bool, name, def, meaning string) *envVar {
	return bind(t, "bool", parseBool, into, name, def, meaning)
}

func (t *envTable) count(into *int, name, def, unit, meaning string) {
	bind(t, "integer", parseCount, into, name, def, meaning).in(unit)
}

func (t *envTable) uint32(into *uint32, name, def, unit, meaning string) {
	bind(t, "u32", parseUint32, into, name, def, meaning).in(unit)
}

func (t *envTable) text(into *string, name, def, meaning string) *envVar {
	return bind(t, "text", parseText, into, name, def, meaning)
}

func (t *envTable) path(into *string, name, meaning string) *envVar {
	return bind(t, "path", parseText, into, name, "", meaning)
}

func (t *envTable) socketAddr(into *netip.AddrPort, name, def, meaning string) *envVar {
	return bind(t, "socket addr", parseSocketAddr, into, name, def, meaning)
}

func (t *envTable) addr(into *control.Addr, name, meaning string) *envVar {
	return bind(t, "addr", parseControlAddr, into, name, "", meaning)
}

func (t *envTable) ports(into *PortSet, name, meaning string) *envVar {
	return bind(t, "port set", parsePorts, into, name, "", meaning)
}

func (t *envTable) networks(into *[]netip.Prefix, name, meaning string) *envVar {
	return bind(t, "networks", parseNetworks, into, name, "", meaning)
}

func (t *envTable) suffixes(into *[]string, name, def, meaning string) *envVar {
	return bind(t, "DNS suffixes", parseSuffixes, into, name, def, meaning)
}

func (t *envTable) dnsName(into *string, name, meaning string) *envVar {
	return bind(t, "DNS name", parseDNSName, into, name, "", meaning)
}

func (t *envTable) id(into *string, name, meaning string) *envVar {
	return bind(t, "identity", parseIdentity, into, name, "", meaning)
}

// backoff adds the three variables of one backoff.
func (t *envTable) backoff(into *control.Backoff, name, low, high, meaning string) []*envVar {
	return []*envVar{
		t.duration(&into.Min, name+"_MIN", low, meaning+": the first pause; doubled each time. Goes with "+name+"_MAX"),
		t.duration(&into.Max, name+"_MAX", high, "the longest of those pauses. Goes with "+name+"_MIN"),
		bind(t, "float", parseJitter, &into.Jitter, name+"_JITTER", "0.1", "the share of a pause, from 0 to 100, that chance may add to it; 0 if the other two are set and this is not").in("of a pause"),
	}
}
