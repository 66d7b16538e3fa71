package profiles

// Classifier returns what says whether a response is a failure, by its status: the
// first class that takes it decides. It returns nil if the rule has no classes.
func (rule *Rule) Classifier() func(status int) (failure, decided bool) {
	classes := rule.Classes
	if len(classes) == 0 {
		return nil
	}
	return func(status int) (failure, decided bool) {
		for i := range classes {
			if classes[i].Condition.takes(status) {
				return classes[i].Failure, true
			}
		}
		return false, false
	}
}

// takes reports whether c, a condition of responses, is true of one of that status.
func (c *Condition) takes(status int) bool {
	switch c.Op {
	case All:
		return c.count(status) == len(c.Of)
	case Any:
		return c.count(status) > 0
	case Not:
		return c.count(status) == 0
	case StatusIn:
		return int(c.Min) <= status && status <= int(c.Max)
	case PathRegex, MethodIs: // which are a request's
	}
	return false
}

// count returns how many of c's parts take the status.
func (c *Condition) count(status int) (n int) {
	for i := range c.Of {
		if c.Of[i].takes(status) {
			n++
		}
	}
	return n
}
