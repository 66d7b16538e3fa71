package control

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// An outage is whether a control-plane service can be reached, told once at
// either end: with hundreds of streams, a line for each would bury the cause.
type outage struct {
	log *slog.Logger
	now atomic.Pointer[began] // nil while all is well
}

type began struct {
	cause error
	at    time.Time
}

func (o *outage) begin(cause error) {
	if o.now.CompareAndSwap(nil, &began{cause, time.Now()}) {
		o.log.Warn("the control plane cannot be reached; what it said last stands", "error", cause)
	}
}

func (o *outage) end() {
	if o.now.Load() == nil {
		return // the usual case, told at every message
	}
	if b := o.now.Swap(nil); b != nil {
		o.log.Info("the control plane can be reached again", "after", time.Since(b.at))
	}
}

func (o *outage) cause() error {
	if b := o.now.Load(); b != nil {
		return b.cause
	}
	return nil
}
