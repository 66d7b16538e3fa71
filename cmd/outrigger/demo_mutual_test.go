package main

import (
	"slices"
	"strings"
	"testing"
)

func TestMutual(t *testing.T) {
	rows := aReading(t, func(s string) string { return s }).mutual()
	if len(rows) != 5 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, n := range []int{30, 6, 6, 24, 30} {
		if r := rows[i]; r.client != n || r.outbound != n || r.inbound != n || len(r.amiss()) > 0 || r.between() != "client → workload-1 workload-2 workload-3" {
			t.Errorf("%+v, want %d", r, n)
		}
	}
}

// TestNotMutual has a few of many requests pass in the clear, or between others. All
// other counts agree.
func TestNotMutual(t *testing.T) {
	const away = `tls="true",server_id="workload-3.demo`
	for name, tt := range map[string]struct{ from, to, seen string }{
		"in the clear, out": {mutualWith("server_id", "workload-2"), `tls="no_identity",no_tls_reason="loopback"`, "client → nobody workload-1 workload-2 workload-3"},
		"in the clear, in":  {mutualWith("client_id", clientName), `tls="no_identity",no_tls_reason="no_tls_from_remote"`, "nobody → workload-1 workload-2 workload-3"},
		"no client":         {mutualWith("client_id", clientName), `tls="true",client_id=""`, "nobody → workload-1 workload-2 workload-3"},
		"another's sidecar": {mutualWith("server_id", "workload-2"), mutualWith("server_id", "workload-3"), "client → workload-1 workload-2 workload-3"},
		"a stranger":        {mutualWith("server_id", "workload-2"), `tls="true",server_id="x.test"`, "client → workload-1 workload-2 workload-3 x.test"},
		"another client":    {mutualWith("client_id", clientName), mutualWith("client_id", "workload-1"), "workload-1 → workload-1 workload-2 workload-3"},
		"another domain":    {away, strings.Replace(away, "demo", "demo.x", 1), "client → workload-1 workload-2 workload-3 workload-3.demo.x.serviceaccount.identity.linkerd.cluster.local"},
	} {
		r := aReading(t, func(s string) string { return strings.Replace(s, tt.from, tt.to, 1) })
		a := r.account()
		if len(a.books.amiss()) > 0 || len(a.amiss()) == 0 {
			t.Errorf("%s: amiss is %q", name, a.amiss())
		}
		if !slices.ContainsFunc(a.mutual, func(r mutualRow) bool { return r.between() == tt.seen && !r.agrees() }) {
			t.Errorf("%s: %+v, want %s", name, a.mutual, tt.seen)
		}
		if err := (&demo{amiss: a.amiss()}).verdict(); err == nil || status(err) != 1 {
			t.Errorf("%s: exit status of %v", name, err)
		}
	}
}
