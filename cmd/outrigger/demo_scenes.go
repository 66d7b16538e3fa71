package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// The shares by which a change is known to have been made.
const (
	slowShare      = 0.20 // at most, of a slow endpoint among three
	recoveredShare = 0.12 // at least, once it is fast again
	turnedShare    = 0.60 // at least, of the version that has 90 of 100 now
)

// A scene is a change, and how it shows in the requests of a while.
type scene struct {
	text   string
	change func(context.Context) error // nil if nothing is changed
	shows  func(view) bool             // nil if nothing but success is to be seen
}

// A view is what became of the requests of a while. Others are those to shop, feed
// and chat.
type view struct{ web, books, db, others counts }

func (v view) minus(earlier view) view {
	return view{v.web.minus(earlier.web), v.books.minus(earlier.books), v.db.minus(earlier.db), v.others.minus(earlier.others)}
}

// total returns how many requests there were, and how many failed.
func (v view) total() (done, failed int) {
	sum := v.web.plus(v.books).plus(v.db).plus(v.others)
	return sum.done, sum.failed
}

// serves reports whether workload 1 serves any, or all, of what it may be taken out of.
func (v view) serves(all bool) bool {
	for _, c := range []counts{v.web, v.db, v.others} {
		if c.share(1) > 0 != all {
			return !all
		}
	}
	return all
}

// enough reports whether shares can be told from v.
func (v view) enough() bool {
	const web, books, db, others = 60, 30, 20, 60
	return v.web.done >= web && v.books.done >= books && v.db.done >= db && v.others.done >= others
}

func (l demoLoads) now() view {
	return view{sumOf(l.web), sumOf(l.books), sumOf(l.db), sumOf(append([]*load{l.shop, l.feed}, l.chat...)...)}
}

// scenes changes one thing after another while requests run.
func (d *demo) scenes(ctx context.Context) error {
	d.say("%s", sceneHead(d.ink))
	err := d.play(ctx, scene{"nothing yet; books is split 90 to 10", nil, func(v view) bool {
		return v.web.share(1) > 0 && v.web.share(2) > 0 && v.web.share(3) > 0 && v.books.share(oldWorkload) > v.books.share(newWorkload)
	}})
	if err == nil {
		err = d.play(ctx, d.changes()...)
	}
	if err == nil {
		err = d.least(ctx)
	}
	return err
}

// changes are the scenes in which something changes.
func (d *demo) changes() []scene {
	delay := d.delay()
	return []scene{
		{fmt.Sprintf("application 3 takes %s longer", delay), d.slow(delay), func(v view) bool { return v.web.share(3) < slowShare }},
		{"3 is fast again; books is split 10 to 90", d.turn, func(v view) bool { return v.books.share(newWorkload) > turnedShare }},
		{"the control plane is killed", d.killControl, nil},
		{"it is back, and takes 1 out of all but books", d.back, func(v view) bool { return !v.serves(false) }},
		{"1 is put back", d.rewriteAs(func(m *demoMesh) { m.away = 0 }), func(v view) bool { return v.serves(true) }},
		{"3's share returns as its slowness is forgotten", nil, func(v view) bool { return v.web.share(3) > recoveredShare }},
	}
}

// delay returns by how much an application is made slow: enough to stand out on a
// machine that is busy with other things.
func (d *demo) delay() time.Duration {
	const fold, step = 3, 10 * time.Millisecond
	return max(demoDelay, (fold * d.loads.web.tally.percentile(50)).Truncate(step))
}

func (d *demo) play(ctx context.Context, scenes ...scene) error {
	for _, s := range scenes {
		if err := d.scene(ctx, s); err != nil {
			return fmt.Errorf("%q: %w", s.text, err)
		}
	}
	return nil
}

// scene makes a change, waits until it shows, and then looks at the requests of a
// while.
func (d *demo) scene(ctx context.Context, s scene) error {
	if s.change != nil {
		if err := s.change(ctx); err != nil {
			return err
		}
	}
	if err := d.shown(ctx, s); err != nil {
		return err
	}
	v, err := d.watch(ctx, demoScene)
	if err != nil {
		return err
	}
	d.say("%s", sceneRow(d.ink, time.Since(d.began), s.text, d.sinceLast(), v))
	return nil
}

// sinceLast returns what became of the requests since it was called last.
func (d *demo) sinceLast() view {
	now := d.loads.now()
	since := now.minus(d.told)
	d.told = now
	return since
}

// shown waits until s shows. If it does not, that is amiss.
func (d *demo) shown(ctx context.Context, s scene) error {
	for start := time.Now(); s.shows != nil; {
		v, err := d.watch(ctx, demoGlance)
		if err != nil {
			return err
		}
		if s.shows(v) {
			return nil
		}
		if time.Since(start) > demoShow {
			d.amiss = append(d.amiss, fmt.Sprintf("%q did not show in the shares within %s", s.text, demoShow))
			return nil
		}
	}
	return nil
}

// watch looks at the requests of some time, or for longer if they are few.
func (d *demo) watch(ctx context.Context, least time.Duration) (view, error) {
	start, before := time.Now(), d.loads.now()
	for {
		if err := pause(ctx, demoTick); err != nil {
			return view{}, err
		}
		if v := d.loads.now().minus(before); time.Since(start) >= least && v.enough() {
			return v, nil
		}
	}
}

// least waits until there have been enough requests of each protocol to count.
func (d *demo) least(ctx context.Context) error {
	for _, protocol := range d.loads.protocols() {
		for d.loads.of(protocol).done < demoLeast {
			if err := pause(ctx, demoTick); err != nil {
				return err
			}
		}
	}
	return nil
}

// slow has application 3 take that much longer.
func (d *demo) slow(by time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := ask(ctx, http.MethodPost, d.mesh.workloads[2].web, delayPath+"?d="+by.String())
		return err
	}
}

func (d *demo) rewriteAs(change func(*demoMesh)) func(context.Context) error {
	return func(context.Context) error {
		change(d.mesh)
		return d.rewrite()
	}
}

func (d *demo) turn(ctx context.Context) error {
	if err := d.slow(0)(ctx); err != nil {
		return err
	}
	d.mesh.oldWeight, d.mesh.newWeight = d.mesh.newWeight, d.mesh.oldWeight
	return d.rewrite()
}

func (d *demo) killControl(context.Context) error { return d.procs.kill(controlName) }

// back starts the control plane again, and then changes what it says.
func (d *demo) back(ctx context.Context) error {
	control := d.mesh.servers(d.meshFile())[0]
	if err := d.procs.start(control); err != nil {
		return err
	}
	if err := d.procs.ready(ctx, control); err != nil {
		return err
	}
	return d.rewriteAs(func(m *demoMesh) { m.away = 1 })(ctx)
}
