package control

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

// An outage is whether a control-plane service can be reached, told once at
// either end: with hundreds of streams, a line for each would bury the cause.
type outage struct {
	log  *slog.Logger
	now  atomic.Pointer[began] // nil while all is well
	told atomic.Int64          // when one was logged last, in ns since 1970
}

type began struct {
	cause error
	at    time.Time
	told  bool // this one is logged
}

// begin logs no more than one outage in a while: a control plane that comes and
// goes would fill the log.
func (o *outage) begin(cause error) {
	if o.now.Load() != nil {
		return
	}
	b := &began{cause: brief(cause), at: time.Now()}
	last := o.told.Load()
	b.told = b.at.Sub(time.Unix(0, last)) >= quietly
	if !o.now.CompareAndSwap(nil, b) || !b.told || !o.told.CompareAndSwap(last, b.at.UnixNano()) {
		return
	}
	o.log.Warn("the control plane cannot be reached; what it said last stands", "error", b.cause)
}

func (o *outage) end() {
	if o.now.Load() == nil {
		return // the usual case, told at every message
	}
	if b := o.now.Swap(nil); b != nil && b.told {
		o.log.Info("the control plane can be reached again", "after", time.Since(b.at))
	}
}

func (o *outage) cause() error {
	if b := o.now.Load(); b != nil {
		return b.cause
	}
	return nil
}

// maxCause is how much of an error's text is kept: a control plane's may be of any
// length, and ends in logs and headers.
const maxCause = 1024

// brief returns err, with its text cut if that is too long.
func brief(err error) error {
	if err == nil || len(err.Error()) <= maxCause {
		return err
	}
	return &briefed{err}
}

// A briefed error says less than it knows.
type briefed struct{ error }

func (b *briefed) Error() string { return strings.ToValidUTF8(b.error.Error()[:maxCause], "") + "…" }

func (b *briefed) Unwrap() error { return b.error }
