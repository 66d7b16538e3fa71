package telemetry

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// A handler is a slog.Handler for Linkerd's formats and filters.
type handler struct {
	*sink

	target string
	spans  []span // the outermost first; the first has no name, and what was given outside of groups
}

// A span is a group, and what was given to With in it.
type span struct {
	name   string
	fields []slog.Attr
}

// A sink is what all handlers of one log share.
type sink struct {
	filter *Filter
	format func(*line) []byte
	start  time.Time

	mu  sync.Mutex // held to write
	out io.Writer
	buf []byte // used again for the next line
}

// maxKept bounds what a long line leaves allocated.
const maxKept = 64 << 10

// A line is one record on its way out.
type line struct {
	buf     []byte // where it goes
	elapsed time.Duration
	record  slog.Record
	target  string
	spans   []span
	fields  []slog.Attr // the record's own, after what was given outside of groups
}

func newHandler(filter *Filter, format LogFormat, out io.Writer) slog.Handler {
	s := &sink{filter: filter, format: (*line).plain, start: time.Now(), out: out}
	if format == JSONLog {
		s.format = (*line).json
	}
	return &handler{sink: s, target: defaultTarget, spans: []span{{}}}
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return h.filter.rules.Load().mayEnable(level, h.target)
}

// Handle implements slog.Handler.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	fields := slices.Clone(h.spans[0].fields)
	r.Attrs(func(a slog.Attr) bool {
		fields = appendAttr(fields, "", a)
		return true
	})
	if r.Level < h.filter.rules.Load().levelOf(h.target, h.spans[1:], fields) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf = h.format(&line{
		buf: h.buf[:0], elapsed: max(0, r.Time.Sub(h.start)), record: r,
		target: h.target, spans: h.spans[1:], fields: fields,
	})
	_, err := h.out.Write(h.buf)
	if cap(h.buf) > maxKept {
		h.buf = nil
	}
	return err
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.spans = slices.Clone(h.spans)
	last := &next.spans[len(next.spans)-1]
	last.fields = slices.Clone(last.fields)
	for _, a := range attrs {
		if a.Key == targetKey && a.Value.Kind() == slog.KindString {
			next.target = a.Value.String()
			continue
		}
		last.fields = appendAttr(last.fields, "", a)
	}
	return &next
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.spans = append(slices.Clone(h.spans), span{name: name})
	return &next
}

// appendAttr appends a, or what is in it if it is a group, with its value resolved.
func appendAttr(to []slog.Attr, prefix string, a slog.Attr) []slog.Attr {
	v := a.Value.Resolve()
	switch {
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			to = appendAttr(to, prefix, inner)
		}
		return to
	case a.Key == "" && v.Any() == nil:
		return to
	default:
		return append(to, slog.Attr{Key: prefix + a.Key, Value: v})
	}
}

// levelName returns a level as Linkerd writes it.
func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "ERROR"
	case l >= slog.LevelWarn:
		return "WARN"
	case l >= slog.LevelInfo:
		return "INFO"
	case l >= slog.LevelDebug:
		return "DEBUG"
	default:
		return "TRACE"
	}
}
