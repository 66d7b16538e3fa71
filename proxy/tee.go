package proxy

import (
	"fmt"
	"runtime/debug"

	"github.com/outrigger-mesh/outrigger/proxy/tee"
)

// newTee returns what shows contents to consumers, within what c allows. How each
// ends that does so early is counted by itself, and logged: as an error only if it
// panicked, since the others may be as many as there are messages.
func (p *Proxy) newTee(c *Tee) *tee.Tee {
	t := tee.New(tee.Config{
		Bytes: c.Bytes, MessageBytes: c.MessageBytes, ConsumerBytes: c.ConsumerBytes,
		Consumers: c.Consumers, Running: c.Running, Stall: c.Stall,
		Ended: func(consumer string, why tee.Reason, err error) {
			if why != tee.Panicked {
				p.Log.Debug("consumer was detached", "consumer", consumer, "reason", why.String(), "err", err)
				return
			}
			p.Metrics.Panic("consumer")
			p.Log.Error("consumer panicked and was detached", "consumer", consumer, "err", err)
		},
	})
	p.Metrics.Tee(t.Stats)
	return t
}

// closeTee waits for consumers to end, but no longer than is configured.
func (p *Proxy) closeTee() {
	if err := p.Tee.Close(p.Config.Tee.Grace); err != nil {
		p.Log.Warn("consumers go on", "err", err)
	}
}

// observerPanicked counts and logs a panic of an observer of a body.
func (p *Proxy) observerPanicked(cause any) {
	p.Metrics.Panic("observer")
	p.Log.Error("observer panicked and was detached", "err", fmt.Sprint(cause), "stack", string(debug.Stack()))
}
