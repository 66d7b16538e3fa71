package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// elapse lets real time pass: to be idle takes time, and sockets keep no other.
func elapse(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// TestOutageUnderLoad kills the control plane and starts it anew while requests
// and connections run. None may be lost: not of a destination in use; nor of one
// that was used before, has been idle since, and so was dropped; nor of one that
// is dropped in the outage itself.
func TestOutageUnderLoad(t *testing.T) { outage(t, "1s", 1500*time.Millisecond) }

// An idler is a destination that is used now and then.
type idler struct {
	service
	addr string
}

// outage is TestOutageUnderLoad with destinations that are dropped after idle, and
// are idle for quiet.
func outage(t *testing.T, idle string, quiet time.Duration) {
	t.Helper()
	l := newLedger()
	var mesh, named []string
	var idlers []idler
	for i := range 6 {
		name := fmt.Sprintf("idler%d", i)
		d := idler{service{name: name, endpoints: []*application{serveHTTP1(t, l, name)}}, freeAddr(t)}
		idlers = append(idlers, d)
		mesh, named = append(mesh, d.yaml()), append(named, d.addr+"="+d.host()+":80")
	}
	never, neverAddr := service{name: "never", endpoints: []*application{serveHTTP1(t, l, "never")}}, freeAddr(t)
	mesh, named = append(mesh, never.yaml()), append(named, neverAddr+"="+never.host()+":80")
	web, webAddr := service{name: "web", endpoints: []*application{serveHTTP1(t, l, "web-1"), serveHTTP1(t, l, "web-2")}}, freeAddr(t)
	db, dbAddr := service{name: "db", opaque: true, endpoints: []*application{serveLines(t, l, "db-1")}}, freeAddr(t)
	named = append(named, webAddr+"="+web.host()+":80", dbAddr+"="+db.host()+":80")
	c := startController(t, meshYAML(append(mesh, web.yaml(), db.yaml())...))
	startSidecar(t, c.addr, "OUTRIGGER_OUTBOUND_NAMED="+strings.Join(named, ","), "LINKERD2_PROXY_OUTBOUND_DISCOVERY_IDLE_TIMEOUT="+idle)

	requests, lines := startLoad(t, l, "web", webAddr, web.host(), 16), startLoad(t, l, "db", dbAddr, "", 4)
	useAll(t, l, idlers, "before")
	elapse(t, quiet)
	useAll(t, l, idlers[:3], "again") // these are in use as the outage begins, the others dropped already
	l.progress(t, 100)

	c.stop()
	l.progress(t, 200)
	useAll(t, l, idlers, "in the outage")
	elapse(t, quiet)
	useAll(t, l, idlers, "later in the outage")
	l.progress(t, 200)
	status, _, header := get(t, neverAddr, never.host())
	if status != http.StatusServiceUnavailable || !strings.Contains(header.Get("l5d-proxy-error"), "no answer from the control plane") {
		t.Errorf("a destination that was never known: %d, %q; want 503 and why", status, header.Get("l5d-proxy-error"))
	}

	added := serveHTTP1(t, l, "web-3")
	web.endpoints = append(web.endpoints[1:], added)
	c.set(meshYAML(append(mesh, web.yaml(), db.yaml())...))
	c.start(c.addr)
	l.takesPart(t, 30, "web-3", "web-2")
	l.leaves(t, 150, "web-1")
	useAll(t, l, append(idlers, idler{never, neverAddr}), "after the outage")
	requests.stop()
	lines.stop()
	l.check(t)
}

// useAll makes one request to each, all at once.
func useAll(t *testing.T, l *ledger, to []idler, when string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	errs := make(chan error)
	for _, d := range to {
		go func() { errs <- d.use(ctx, l, d.name+", "+when) }()
	}
	for range to {
		if err := <-errs; err != nil {
			t.Errorf("%v", err)
		}
	}
}

func (d idler) use(ctx context.Context, l *ledger, id string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.addr+"/", nil)
	if err != nil {
		return err
	}
	req.Host = d.host()
	req.Header.Set("x-id", id)
	l.send(id)
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("x-from") != d.endpoints[0].name {
		return fmt.Errorf("%s: %d from %q, %q", id, resp.StatusCode, resp.Header.Get("x-from"), resp.Header.Get("l5d-proxy-error"))
	}
	l.answer(id)
	return nil
}
