package proxy

// fixtures adds what nobody can set but docs/config.md names all the same, so
// that there is one place for it. The names are a Config's fields.
func (t *envTable) fixtures(c *Config) {
	t.section("Fixed", "")
	t.fixed = true
	for _, d := range []struct {
		name string
		*Direction
	}{{"Inbound.", &c.Inbound}, {"Outbound.", &c.Outbound}} {
		t.count(&d.MaxConns, d.name+"MaxConns", "100000", "connections", "at once")
	}
	t.overload(&c.Overload)
	t.duration(&c.Outbound.DiscoverTimeout, "Outbound.DiscoverTimeout", "3s", "to hear of a destination for the first time; then 503")
	t.duration(&c.Balance.DefaultRTT, "Balance.DefaultRTT", "30ms", "the latency of an endpoint that has not answered yet, unless a policy says otherwise")
	t.duration(&c.Balance.Decay, "Balance.Decay", "10s", "in which a measured latency fades, unless a policy says otherwise")
	t.count(&c.Balance.MaxEndpoints, "Balance.MaxEndpoints", "100000", "endpoints", "of one destination; what comes beyond is left out")
	t.duration(&c.Balance.Settle, "Balance.Settle", "10ms", "between two sets of one destination's endpoints, two of its profiles or two of its policies, at least; what changes meanwhile is taken together")
	t.count(&c.HTTP.HeadFields, "HTTP.HeadFields", "200", "fields", "that a head or trailer may have; over it, 431 to a client and 502 for a server")
	t.duration(&c.HTTP.HeadTime, "HTTP.HeadTime", "30s", "for a head to be complete, from its first byte")
	t.count(&c.HTTP.DrainBytes, "HTTP.DrainBytes", "262144", "bytes", "of a body that nobody wants, read so that its connection can be kept")
	t.duration(&c.HTTP.DrainTime, "HTTP.DrainTime", "1s", "to read them; and for a client that is left to pause in its sending, five times that in all, so that it reads its answer")
	t.duration(&c.HTTP.Continue, "HTTP.Continue", "1s", "that a body waits for 100 (Continue) before it is sent unasked")
	t.duration(&c.HTTP.ClientWatch, "HTTP.ClientWatch", "100ms", "that a request is in hand before its client is watched for leaving")
	t.duration(&c.Admin.HeadTime, "Admin.HeadTime", "10s", "for the head of a request to the admin port")
	t.count(&c.Admin.HeadBytes, "Admin.HeadBytes", "16384", "bytes", "that such a head may have")
	t.duration(&c.Admin.IdleTimeout, "Admin.IdleTimeout", "2m", "for an idle connection to the admin port to be closed")
	t.count(&c.Admin.MaxConns, "Admin.MaxConns", "256", "connections", "at once to the admin port")
	t.duration(&c.Admin.ReadTime, "Admin.ReadTime", "10s", "for the content of a request to the admin port")
	t.duration(&c.Admin.WriteTime, "Admin.WriteTime", "30s", "for the admin port's response")
	t.duration(&c.Admin.Grace, "Admin.Grace", "2s", "for what the admin port has in hand at the end")
	t.count(&c.Admin.FilterBytes, "Admin.FilterBytes", "65536", "bytes", "of a new log filter")
	t.count(&c.Admin.Scrapes, "Admin.Scrapes", "4", "scrapes", "of the metrics at once; further ones get 503")
	t.count(&c.Metrics.MaxSeries, "Metrics.MaxSeries", "10000", "series", "in one family of metrics; further ones are counted together")
	t.count(&c.Control.Remembered, "Control.Remembered", "1000", "destinations", "whose last answers are remembered when they are forgotten")
	t.duration(&c.Identity.Reminder, "Identity.Reminder", "15s", "between two warnings that the first certificate has not come")
	t.duration(&c.Identity.Retry, "Identity.Retry", "100ms", "to try again for a certificate while there is none that is valid; it doubles up to the least time between two")
	t.duration(&c.Identity.AnchorsPoll, "Identity.AnchorsPoll", "1s", "between two looks at the file of trust anchors")
	t.duration(&c.Identity.Timeout, "Identity.Timeout", "10s", "of one try to get a certificate")
	t.duration(&c.Control.MaxPause, "Control.MaxPause", "500ms", "between two tries to reach the control plane, or to ask it again, at most, even if the backoff says more: what it says is to count within a second of its return")
	t.duration(&c.Control.FailFast, "Control.FailFast", "30s", "for a call to the control plane to wait until it can be reached")
	t.count(&c.Control.MaxPattern, "Control.MaxPattern", "4096", "bytes", "of a regular expression in a route")
	t.count(&c.Control.MaxParts, "Control.MaxParts", "100000", "parts", "of one profile or policy: routes, rules, matches and so on")
}

// overload adds what docs/pressure.md explains.
func (t *envTable) overload(o *Overload) {
	t.duration(&o.Patience, "Overload.Patience", "1s", "while descriptors are few, for a connection to wait for another to end; then it is refused")
	t.duration(&o.Age, "Overload.Age", "5s", "of a connection, before it is asked to leave to make room")
	t.count(&o.HeapShare, "Overload.HeapShare", "80", "per cent", "of the limit on memory that the heap may have, less what others than the heap have; unless GOMEMLIMIT is set")
	t.count(&o.ShedAt, "Overload.ShedAt", "90", "per cent", "of that limit in use: requests are shed, until it is 5 less")
	t.count(&o.RefuseAt, "Overload.RefuseAt", "95", "per cent", "of that limit in use: connections are refused too, until it is 5 less")
	t.count(&o.EvictShare, "Overload.EvictShare", "125", "thousandths", "of all connections that are then asked to leave, at each look at what is used")
	t.duration(&o.Interval, "Overload.Interval", "100ms", "between two looks at what memory is used, if there is a limit")
	t.duration(&o.Free, "Overload.Free", "1s", "between two collections that give memory back, while it is short")
	t.count(&o.RequestBytes, "Overload.RequestBytes", "65536", "bytes", "that each further request is thought to take, until the next look")
	t.count(&o.ConnBytes, "Overload.ConnBytes", "32768", "bytes", "that each further connection is thought to take, until the next look")
	t.count(&o.ConnShare, "Overload.ConnShare", "24576", "bytes", "of the limit on memory for each connection of a client: so many are admitted")
}
