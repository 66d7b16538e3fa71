package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// LevelTrace is below slog.LevelDebug; the other levels are slog's own.
const LevelTrace = slog.LevelDebug - 4

// levelOff is above every level that is logged at.
const levelOff = slog.LevelError + 100

// targetKey is the attribute by which a logger says which part of the proxy it is,
// as "outrigger::outbound"; it is shown as Linkerd shows a module's path.
const targetKey = "target"

// defaultTarget is that of a logger that does not say.
const defaultTarget = "outrigger"

// DefaultLog is what LINKERD2_PROXY_LOG is if it is not set.
const DefaultLog = "warn,linkerd=info,hickory=error"

// A LogFormat is how a line looks (LINKERD2_PROXY_LOG_FORMAT).
type LogFormat uint8

// The formats.
const (
	PlainLog LogFormat = iota
	JSONLog
)

// ParseLogFormat returns the format of that name: anything but json, in any
// case, is plain.
func ParseLogFormat(name string) LogFormat {
	if strings.EqualFold(name, "json") {
		return JSONLog
	}
	return PlainLog
}

// Logs returns a logger that writes what directives let through to out, one
// Write a line, and the filter by which that is changed while it runs.
// Directives that cannot be read are reported on errs, and skipped. If
// directives are "off" and nothing else, nothing is ever logged, and there is no
// filter.
//
// A logger's attribute "target", as given to With, is matched by directives such
// as linkerd=info. A group is what Linkerd calls a span: what is given to With
// after it are the span's fields, matched by [span{field=value}]=off.
func Logs(directives string, format LogFormat, out, errs io.Writer) (*slog.Logger, *Filter) {
	if strings.EqualFold(strings.TrimSpace(directives), "off") {
		return slog.New(slog.DiscardHandler), nil
	}
	filter, err := NewFilter(directives)
	if err != nil {
		_, _ = fmt.Fprintln(errs, "log filter:", err)
	}
	return slog.New(newHandler(filter, format, out)), filter
}
