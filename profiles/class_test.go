package profiles

import "testing"

func TestClassifier(t *testing.T) {
	in := func(low, high uint16) Condition { return Condition{Op: StatusIn, Min: low, Max: high} }
	rule := &Rule{Classes: []Class{
		{Condition{Op: All, Of: []Condition{in(400, 499), {Op: Not, Of: []Condition{in(404, 404)}}}}, true},
		{Condition{Op: Any, Of: []Condition{in(404, 404), in(500, 500)}}, false},
		{in(500, 599), true},
	}}
	type result struct{ failure, decided bool }
	for status, want := range map[int]result{
		200: {}, 399: {}, 400: {true, true}, 499: {true, true}, 404: {false, true}, 500: {false, true}, 501: {true, true}, 599: {true, true}, 600: {},
	} {
		if failure, decided := rule.Classifier()(status); (result{failure, decided}) != want {
			t.Errorf("%d: failure %v, decided %v; want %+v", status, failure, decided, want)
		}
	}
	if new(Rule).Classifier() != nil {
		t.Error("no classes make a classifier")
	}
}
