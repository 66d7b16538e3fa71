package balance

// changed is told by endpoints that they may have become ready, or have ceased
// to be. It neither asks them nor waits, for the teller may hold locks.
func (b *Balancer[S]) changed() {
	b.dirty.Store(true)
	if len(b.roster.Load().of) > 0 {
		return // the next Pick looks; nobody waits
	}
	if b.looking.CompareAndSwap(false, true) {
		b.c.Guard.Go(stage, b.follow) // ends as soon as all have been asked
	}
}

// follow looks at what has changed. Another may start as soon as this one looks,
// but waits for it: there are two at most.
func (b *Balancer[S]) follow() {
	b.asking.Lock()
	defer b.asking.Unlock()
	b.looking.Store(false) // before the look, so that what changes later is seen by the next
	looked := false
	defer func() {
		if !looked { // an endpoint has panicked when asked: the next Pick is to ask
			b.dirty.Store(true)
		}
	}()
	b.look()
	looked = true
}

// refresh asks the endpoints which are ready, if any may have changed.
func (b *Balancer[S]) refresh() {
	b.asking.Lock()
	defer b.asking.Unlock()
	b.look()
}

// look is refresh for who holds asking. It looks again if something changed
// meanwhile: changed may have left that to a Pick because of the old roster.
func (b *Balancer[S]) look() {
	for b.dirty.Swap(false) && b.ctx.Err() == nil {
		r := newRoster(b.members.Load().serving())
		b.roster.Store(r)
		b.queue.settle(len(r.of) > 0)
	}
}
