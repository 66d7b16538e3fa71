package profiles

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	pb "github.com/linkerd/linkerd2-proxy-api/go/outbound"
	"google.golang.org/protobuf/encoding/protojson"
)

var update = flag.Bool("update", false, "write the golden files anew")

// examples returns what a real controller sent, by name.
func examples(tb testing.TB) map[string]*pb.OutboundPolicy {
	tb.Helper()
	files, err := filepath.Glob("testdata/outbound-*.json")
	if err != nil || len(files) == 0 {
		tb.Fatal("no examples", err)
	}
	policies := map[string]*pb.OutboundPolicy{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		var p pb.OutboundPolicy
		if err := protojson.Unmarshal(b, &p); err != nil {
			tb.Fatalf("%s: %v", f, err)
		}
		policies[strings.TrimSuffix(filepath.Base(f), ".json")] = &p
	}
	return policies
}

// What a real controller sends is understood, all of it. The golden files beside
// the examples say how.
func TestExamples(t *testing.T) {
	for name, policy := range examples(t) {
		t.Run(name, func(t *testing.T) {
			p := newDecoder().decodePolicy(policy)
			if !reflect.DeepEqual(p, newDecoder().decodePolicy(policy)) {
				t.Error("the same policy, decoded twice, differs")
			}
			got, golden := render(p), "testdata/"+name+".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("%v; got\n%s\nwant\n%s", err, got, want)
			}
			if len(p.Problems) > 0 {
				t.Errorf("problems: %q", p.Problems)
			}
		})
	}
}

// render returns all that a profile says, for people.
func render(p *Profile) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s from %s, parent %s\n", p.Protocol, p.Source, p.Parent)
	if p.Name != "" {
		fmt.Fprintf(&b, "name %s\n", p.Name)
	}
	if p.Accrual != (Accrual{}) {
		fmt.Fprintf(&b, "accrual %+v\n", p.Accrual)
	}
	for _, list := range []struct {
		name   string
		routes []Route
	}{{"http/1", p.HTTP1}, {"http/2", p.HTTP2}, {"opaque", p.Opaque}, {"tls", p.TLS}} {
		for _, r := range list.routes {
			fmt.Fprintf(&b, "%s %s %v\n", list.name, r.Meta, r.Hosts)
			for _, rule := range r.Rules {
				b.WriteString(renderRule(rule))
			}
		}
	}
	for _, problem := range p.Problems {
		fmt.Fprintf(&b, "problem: %s\n", problem)
	}
	return b.String()
}

func renderRule(r Rule) string {
	var b strings.Builder
	b.WriteString("  rule\n")
	for _, m := range r.Matches {
		fmt.Fprintf(&b, "    match %s\n", m)
	}
	for _, f := range r.Filters {
		fmt.Fprintf(&b, "    filter %s\n", f)
	}
	if r.Timeouts != (Timeouts{}) {
		fmt.Fprintf(&b, "    timeouts %+v\n", r.Timeouts)
	}
	if r.Retry.By != NoRetry {
		fmt.Fprintf(&b, "    retry by %s %+v\n", r.Retry.By, r.Retry)
	}
	if r.AllowHeaders {
		b.WriteString("    l5d headers\n")
	}
	if r.Refusal != "" {
		fmt.Fprintf(&b, "    refused: %s\n", r.Refusal)
	}
	fmt.Fprintf(&b, "    %s\n", r.Distribution.Kind)
	for _, s := range r.Distribution.Shares {
		fmt.Fprintf(&b, "      %d %s %s\n", s.Weight, s.Backend.Meta, renderBackend(s.Backend))
		for _, f := range s.Filters {
			fmt.Fprintf(&b, "        filter %s\n", f)
		}
	}
	return b.String()
}

func renderBackend(b Backend) string {
	switch {
	case b.Name != "":
		return fmt.Sprintf("balance %s %+v %+v", b.Name, b.Load, b.Queue)
	case b.Refusal != "":
		return "refused: " + b.Refusal
	default:
		return fmt.Sprintf("forward %s %+v", b.Endpoint.Addr, b.Queue)
	}
}
