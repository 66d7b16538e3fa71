package discover

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/protobuf/proto"
)

// Addresses in these tests are 10.0.0.n:80.
func add(ns ...uint32) *pb.Update {
	set := &pb.WeightedAddrSet{}
	for _, n := range ns {
		set.Addrs = append(set.Addrs, &pb.WeightedAddr{Addr: v4(0x0a000000+n, 80), Weight: 1})
	}
	return &pb.Update{Update: &pb.Update_Add{Add: set}}
}

func remove(ns ...uint32) *pb.Update {
	set := &pb.AddrSet{}
	for _, n := range ns {
		set.Addrs = append(set.Addrs, v4(0x0a000000+n, 80))
	}
	return &pb.Update{Update: &pb.Update_Remove{Remove: set}}
}

func none(exists bool) *pb.Update {
	return &pb.Update{Update: &pb.Update_NoEndpoints{NoEndpoints: &pb.NoEndpoints{Exists: exists}}}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// show returns a set as "1 2 3", by the last byte of its addresses.
func show(s Set) string {
	words := []string{}
	for _, e := range s.Endpoints {
		words = append(words, fmt.Sprint(e.Addr.Addr().As4()[3]))
	}
	if !s.Exists {
		words = append(words, "gone")
	}
	return strings.Join(words, " ")
}

func TestFold(t *testing.T) {
	type step struct {
		u     *pb.Update
		first bool
		want  string // "-" if nothing is yielded
	}
	for name, steps := range map[string][]step{
		"adds and removes": {
			{add(3, 1), true, "1 3"},
			{add(2), false, "1 2 3"},
			{remove(1, 9), false, "2 3"},
			{remove(2, 3), false, ""},
			{add(5), false, "5"},
		},
		"a reconnection states all there is": {
			{add(1, 2, 3), true, "1 2 3"},
			{add(2, 4), true, "2 4"},
			{remove(2), false, "4"},
		},
		"the same again yields nothing": {
			{add(1, 2), true, "1 2"},
			{add(2, 1), true, "-"},
			{add(1), false, "-"},
			{remove(7), false, "-"},
		},
		"a removal that comes first is ignored, and the next add still starts over": {
			{add(1, 2), true, "1 2"},
			{remove(1), true, "-"},
			{add(3), false, "3"},
		},
		"no endpoints": {
			{add(1), true, "1"},
			{none(true), false, ""},
			{add(2), false, "2"},
			{none(false), true, "gone"},
			{add(1), false, "1"},
		},
		"no endpoints at first": {
			{none(true), true, ""},
		},
		"does not exist, twice": {
			{none(false), true, "gone"},
			{none(false), true, "-"},
		},
		"an empty message says nothing": {
			{&pb.Update{}, true, "-"},
			{add(1), false, "1"},
			{&pb.Update{}, false, "-"},
		},
		"an empty add is believed when it comes first": {
			{add(1), true, "1"},
			{add(), false, "-"},
			{add(), true, ""},
		},
		"an add of which nothing is usable says nothing": {
			{add(1), true, "1"},
			{&pb.Update{Update: &pb.Update_Add{Add: &pb.WeightedAddrSet{Addrs: []*pb.WeightedAddr{{}}}}}, true, "-"},
			{add(2), false, "2"},
		},
		"the last of a duplicate counts": {
			{add(1, 1, 2), true, "1 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFold(100, nil, discard())
			for i, s := range steps {
				f.apply(s.u, s.first)
				set, ok, err := f.take()
				got := "-"
				if ok {
					got = show(set)
				}
				if err != nil || got != s.want {
					t.Fatalf("step %d: got %q, %v, want %q", i, got, err, s.want)
				}
			}
		})
	}
}

func TestFoldReplacesMetadata(t *testing.T) {
	f := newFold(100, nil, discard())
	f.apply(add(1, 2), true)
	before, _, _ := f.take()
	kept := slices.Clone(before.Endpoints)

	u := add(1)
	u.GetAdd().Addrs[0].MetricLabels = map[string]string{"pod": "x"}
	f.apply(u, false)
	after, ok, _ := f.take()
	if !ok || after.Endpoints[0].Labels.Get("pod") != "x" {
		t.Errorf("got %+v, want the new labels", after)
	}
	if !slices.Equal(before.Endpoints, kept) {
		t.Error("a set that was yielded has changed")
	}
}

func TestFoldCoalesces(t *testing.T) {
	f := newFold(100, nil, discard())
	f.apply(add(1, 2), true)
	f.apply(remove(1), false)
	f.apply(add(3), false)
	if set, ok, _ := f.take(); !ok || show(set) != "2 3" {
		t.Errorf("got %q, want the newest alone", show(set))
	}
	if _, ok, _ := f.take(); ok {
		t.Error("there was something left to take")
	}
}

func TestFoldLimit(t *testing.T) {
	var log strings.Builder
	f := newFold(2, nil, slog.New(slog.NewTextHandler(&log, nil)))
	f.apply(add(1, 2, 3, 4), true)
	f.apply(add(5), false)
	set, _, _ := f.take()
	if show(set) != "1 2" {
		t.Errorf("got %q, want the first two", show(set))
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("logged %d lines, want one:\n%s", n, log.String())
	}
	f.apply(remove(1), false)
	f.apply(add(6), false)
	if set, _, _ := f.take(); show(set) != "2 6" {
		t.Errorf("got %q, want the room to be used again", show(set))
	}
}

func TestFoldLocal(t *testing.T) {
	f := newFold(9, []netip.Addr{netip.MustParseAddr("10.0.0.1")}, discard())
	u := add(1, 2)
	for _, a := range u.GetAdd().Addrs {
		a.TlsIdentity = dns("a.example", "")
	}
	f.apply(u, true)
	set, _, _ := f.take()
	if set.Endpoints[0].ID != "" || set.Endpoints[1].ID == "" {
		t.Errorf("identities %q and %q, want none for the local one only", set.Endpoints[0].ID, set.Endpoints[1].ID)
	}
}

// FuzzUpdates folds sequences of messages, and holds the outcome against the
// plainest thing that could be right.
func FuzzUpdates(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0x41, 1, 0x80, 3, 0xc0, 0xc1})
	f.Add([]byte{0x40, 0x80, 0x81, 1, 1, 1})
	f.Add([]byte{0xff, 0x3f, 0x7f, 0xbf})
	f.Fuzz(func(t *testing.T, script []byte) {
		fold := newFold(16, nil, discard())
		want, fresh := map[netip.AddrPort]bool{}, true
		for _, b := range script {
			n, first := uint32(b&0x1f), b&0x20 != 0
			fresh = fresh || first
			addr, _ := FromTCPAddress(v4(0x0a000000+n, 80))
			switch b >> 6 {
			case 0, 1:
				fold.apply(add(n), first)
				if fresh {
					clear(want)
				}
				if fresh = false; want[addr] || len(want) < 16 {
					want[addr] = true
				}
			case 2:
				fold.apply(remove(n), first)
				if !fresh {
					delete(want, addr)
				}
			case 3:
				fold.apply(none(n&1 == 1), first)
				clear(want)
				fresh = false
			}
			if n%3 == 0 { // sometimes the consumer is slow
				compare(t, fold, want)
			}
		}
		compare(t, fold, want)
	})
}

func compare(t *testing.T, f *fold, want map[netip.AddrPort]bool) {
	t.Helper()
	f.take()
	got := f.taken.Endpoints
	if len(got) != len(want) || f.count != len(want) {
		t.Fatalf("%d endpoints, counted %d, want %d", len(got), f.count, len(want))
	}
	if !slices.IsSortedFunc(got, func(a, b Endpoint) int { return a.Addr.Compare(b.Addr) }) {
		t.Fatal("not sorted")
	}
	for _, e := range got {
		if !want[e.Addr] {
			t.Fatalf("%s should have gone", e.Addr)
		}
	}
}

// FuzzUpdate folds whatever bytes decode to.
func FuzzUpdate(f *testing.F) {
	for _, u := range []*pb.Update{add(1, 2), remove(1), none(true), {}} {
		b, _ := proto.Marshal(u)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var u pb.Update
		if proto.Unmarshal(b, &u) != nil {
			return
		}
		fold := newFold(16, nil, discard())
		fold.apply(&u, true)
		set, _, _ := fold.take()
		if len(set.Endpoints) > 16 {
			t.Fatalf("%d endpoints, over the limit", len(set.Endpoints))
		}
		for _, e := range set.Endpoints {
			if !e.Addr.IsValid() || e.Addr.Port() == 0 || e.Addr.Addr().Is4In6() {
				t.Fatalf("endpoint at %s", e.Addr)
			}
		}
	})
}

// A hundredth of 10,000 endpoints is replaced, one a message, as a large
// deployment does in a second.
func BenchmarkChurn(b *testing.B) {
	const many, few = 10_000, 100
	f := newFold(100_000, nil, discard())
	ns := make([]uint32, many)
	for i := range ns {
		ns[i] = uint32(i)
	}
	f.apply(add(ns...), true)
	f.take()
	adds, removes := make([]*pb.Update, few), make([]*pb.Update, few)
	for i := range few {
		adds[i], removes[i] = add(uint32(i*99)), remove(uint32(i*99))
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range few {
			f.apply(removes[i], false)
			f.take()
			f.apply(adds[i], false)
			f.take()
		}
	}
}
