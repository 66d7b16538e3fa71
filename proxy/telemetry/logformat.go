package telemetry

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxLogged bounds a value, and a message, in bytes: what a peer can make the
// proxy write for one thing that it did.
const maxLogged = 4096

// plain writes: [     0.001234s]  INFO span{field=value}: target: message key=value
// with the time since the start. Nothing in a line can begin another, or steer a
// terminal.
func (l *line) plain() []byte {
	b := fmt.Appendf(l.buf, "[%6d.%06ds] %5s ", l.elapsed/time.Second,
		l.elapsed%time.Second/time.Microsecond, levelName(l.record.Level))
	for i, s := range l.spans {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, word(s.name)...)
		if len(s.fields) > 0 {
			b = append(appendPlain(append(b, '{'), s.fields), '}')
		}
	}
	if len(l.spans) > 0 {
		b = append(b, ": "...)
	}
	b = append(append(b, word(l.target)...), ": "...)
	b = append(b, printable(l.record.Message)...)
	if len(l.fields) > 0 {
		b = appendPlain(append(b, ' '), l.fields)
	}
	return append(b, '\n')
}

func appendPlain(b []byte, fields []slog.Attr) []byte {
	for i, a := range fields {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(append(b, word(a.Key)...), '=')
		b = append(b, word(a.Value.String())...)
	}
	return b
}

// word returns s, in quotes unless it is plain to see where it begins and ends.
func word(s string) string {
	s = bounded(s)
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return r == ' ' || r == '"' || r == '=' || r == '{' || r == '}' || r == utf8.RuneError || !strconv.IsPrint(r)
	}) {
		return strconv.Quote(s)
	}
	return s
}

// printable returns s with what is not printable escaped, as in a Go string.
func printable(s string) string {
	s = bounded(s)
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }) {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func bounded(s string) string {
	if len(s) > maxLogged {
		return strings.ToValidUTF8(s[:maxLogged], "") + "…"
	}
	return s
}

// json writes what tracing-subscriber's JSON has, but for threadId: there are no
// threads to tell apart.
func (l *line) json() []byte {
	b := append(l.buf, `{"timestamp":"`...)
	b = l.record.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(append(append(b, `","level":"`...), levelName(l.record.Level)...), `","fields":{"message":`...)
	b = appendJSONString(b, l.record.Message)
	for _, a := range l.fields {
		b = appendJSONField(append(b, ','), a)
	}
	b = appendJSONString(append(b, `},"target":`...), l.target)
	if len(l.spans) > 0 {
		b = append(b, `,"spans":[`...)
		for i, s := range l.spans {
			if i > 0 {
				b = append(b, ',')
			}
			b = s.appendJSON(b)
		}
		b = append(b, ']')
	}
	return append(b, "}\n"...)
}

func (s *span) appendJSON(b []byte) []byte {
	b = append(b, '{')
	for _, a := range s.fields {
		b = append(appendJSONField(b, a), ',')
	}
	return append(appendJSONString(append(b, `"name":`...), s.name), '}')
}

func appendJSONField(b []byte, a slog.Attr) []byte {
	b = append(appendJSONString(b, a.Key), ':')
	switch a.Value.Kind() {
	case slog.KindBool:
		return strconv.AppendBool(b, a.Value.Bool())
	case slog.KindInt64:
		return strconv.AppendInt(b, a.Value.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, a.Value.Uint64(), 10)
	case slog.KindFloat64:
		if f := a.Value.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.AppendFloat(b, f, 'g', -1, 64)
		}
	case slog.KindAny, slog.KindDuration, slog.KindGroup, slog.KindLogValuer, slog.KindString, slog.KindTime:
	}
	return appendJSONString(b, a.Value.String())
}

// appendJSONString quotes s. It escapes more than JSON asks for, for the sake of
// whoever looks at the log in a terminal.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range bounded(s) {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case strconv.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r > 0xFFFF:
			r -= 0x10000
			b = fmt.Appendf(b, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
