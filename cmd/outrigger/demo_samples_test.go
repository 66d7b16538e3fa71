package main

import "testing"

func TestReadSamples(t *testing.T) {
	s, err := readSamples([]byte(`# HELP a_total Things.
# TYPE a_total counter
a_total 1
a_total{x="1",y="a,b}\"\\\n"} 2.0
a_total{x="1"} 3 1700000000

b_bucket{le="+Inf",} +Inf
# EOF`))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		labels []string
		want   int
	}{
		{nil, 6},
		{[]string{"x", "1"}, 5},
		{[]string{"x", "1", "y", "a,b}\"\\\n"}, 2},
		{[]string{"x", "2"}, 0},
	} {
		if got := s.sum("a_total", test.labels...); got != test.want {
			t.Errorf("sum of %q: %d, want %d", test.labels, got, test.want)
		}
	}
	for _, bad := range []string{"a", "{x=\"1\"} 1", "a{x=\"1} 1", "a{x} 1", "a{x=\"1\"", "a one", "a{=\"1\"} 1"} {
		if _, err := readSamples([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzReadSamples(f *testing.F) {
	for _, seed := range []string{"a 1", "a{b=\"c\"} 2", "a{b=\"\\\"\\\\\",c=\"\"} 3 4", "a{", "# x\n\na{b=\"", "a{,} 1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		s, err := readSamples(page)
		if err != nil && s != nil {
			t.Error("an error, and yet samples")
		}
		for _, one := range s {
			if one.name == "" {
				t.Errorf("a sample without a name: %+v", one)
			}
		}
	})
}
