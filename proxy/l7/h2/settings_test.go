package h2

import "testing"

// TestEnablePush has either side say what it thinks of pushes: a client may want
// them, although it gets none; a server has no say.
func TestEnablePush(t *testing.T) {
	for _, test := range []struct {
		value      uint32
		fromClient bool
		ok         bool
	}{{0, true, true}, {1, true, true}, {2, true, false}, {0, false, true}, {1, false, false}, {2, false, false}} {
		s := firstSettings()
		if err := s.apply(settingEnablePush, test.value, test.fromClient); (err == nil) != test.ok {
			t.Errorf("%d, from a client %t: %v", test.value, test.fromClient, err)
		}
	}
}
