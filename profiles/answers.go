package profiles

import "sync"

// answers are what the control plane said last of one target. Two goroutines
// write them, one for each question; the one that serves the stream takes them.
type answers struct {
	ready chan struct{} // there may be news; one signal is enough for any number of changes

	mu       sync.Mutex      // guards what follows
	profile  *serviceProfile // nil if there is none
	policy   *Profile        // nil if there is none
	profiled bool            // the question about the profile was answered
	policed  bool            // the question about the policy was answered
	err      error           // ended one of both
}

func newAnswers() *answers { return &answers{ready: make(chan struct{}, 1)} }

func (a *answers) setProfile(p *serviceProfile) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.profile, a.profiled = p, true
	a.signal()
}

func (a *answers) setPolicy(p *Profile) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.policy, a.policed = p, true
	a.signal()
}

// fail makes err, if it is not nil, what ends the stream.
func (a *answers) fail(err error) {
	if err == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.err = err
	}
	a.signal()
}

func (a *answers) signal() {
	select {
	case a.ready <- struct{}{}:
	default:
	}
}

// take returns both answers, and whether they are there.
func (a *answers) take() (sp *serviceProfile, policy *Profile, complete bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.profile, a.policy, a.profiled && a.policed, a.err
}
