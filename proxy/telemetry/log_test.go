package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// logged returns what say logs, with filter directives.
func logged(t *testing.T, directives string, format LogFormat, say func(*slog.Logger)) string {
	t.Helper()
	var out, errs bytes.Buffer
	log, _ := Logs(directives, format, &out, &errs)
	say(log)
	if errs.Len() > 0 {
		t.Error(errs.String())
	}
	return out.String()
}

func TestFilterLevels(t *testing.T) {
	const (
		none  = levelOff
		all   = LevelTrace
		debug = slog.LevelDebug
		info  = slog.LevelInfo
		warn  = slog.LevelWarn
		errs  = slog.LevelError
	)
	for _, test := range []struct {
		directives, target string
		least              slog.Level
	}{
		{"", "outrigger", warn},
		{"debug", "outrigger", debug},
		{"DEBUG", "outrigger", debug},
		{"4", "outrigger", debug},
		{"off", "outrigger", none},
		{DefaultLog, "outrigger::outbound", info},
		{DefaultLog, "other", warn},
		{DefaultLog, "hickory_proto", errs},
		{"warn,linkerd=debug", "outrigger::inbound", debug},
		{"warn,linkerd2_proxy=debug", "outrigger::inbound", debug},
		{"warn,linkerd_app=debug", "outrigger::inbound", debug},
		{"warn,linkerd_app_inbound=debug", "outrigger::inbound", debug},
		{"warn,linkerd_app_inbound=debug", "outrigger::outbound", warn},
		{"warn,linkerd_app_inbound::policy::http=debug", "outrigger::inbound", warn},
		{"warn,linkerd_app_inbound::policy::http=debug", "outrigger::inbound::policy::http", debug},
		{"linkerd=info,outrigger::outbound=trace", "outrigger::outbound::h1", all},
		{"outrigger::outbound=trace,linkerd=info", "outrigger::outbound::h1", all},
		{"linkerd=info,linkerd=error", "outrigger", errs},
		{"linkerd", "outrigger", all},
		{" warn , linkerd = info ", "outrigger", info},
		{"error,,", "outrigger", errs},
		{"info,[{headers}]=off,[{request}]=off", "outrigger", info},
	} {
		got := levelOff
		for _, level := range []slog.Level{LevelTrace, debug, info, warn, errs} {
			line := logged(t, test.directives, PlainLog, func(l *slog.Logger) {
				l.With("target", test.target).Log(t.Context(), level, "x")
			})
			if line != "" {
				got = min(got, level)
			} else if got != levelOff {
				t.Errorf("%q: %v is written, but %v is not", test.directives, got, level)
			}
		}
		if got != test.least {
			t.Errorf("%q: %s is written from %v, want %v", test.directives, test.target, got, test.least)
		}
	}
}

func TestFilterSpans(t *testing.T) {
	plain := func(l *slog.Logger) { l.Debug("x") }
	headers := func(l *slog.Logger) { l.Error("x", "headers", "cookie: secret") }
	group := func(l *slog.Logger) { l.Error("x", slog.Group("headers", "cookie", "secret")) }
	with := func(l *slog.Logger) { l.With("headers", 1).Error("x") }
	span := func(l *slog.Logger) { l.WithGroup("rescue").With("client", "10.0.0.1").Debug("x") }
	inner := func(l *slog.Logger) {
		l.WithGroup("rescue").With("client", "10.0.0.1").WithGroup("route").Debug("x", "client", "own")
	}
	for _, test := range []struct {
		directives string
		say        func(*slog.Logger)
		want       bool
	}{
		{"trace,[{headers}]=off", plain, true},
		{"trace,[{headers}]=off", headers, false},
		{"trace,[{headers}]=off", group, false},
		{"trace,[{headers}]=off", with, false},
		{"trace,[{header}]=off", headers, true},
		{"trace,linkerd=trace,[{headers}]=off,[{request}]=off", headers, false},
		{"warn,[{headers}]=error", headers, true},
		{"warn,[rescue]=debug", span, true},
		{"warn,[rescue]=debug", plain, false},
		{"warn,[rescue{client}]=debug", span, true},
		{"warn,[rescue{client=10.0.0.1}]=debug", span, true},
		{`warn,[rescue{client="10.0.0.1"}]=debug`, inner, true},
		{"warn,[rescue{client=10.0.0.2}]=debug", span, false},
		{"warn,[route{client}]=debug", inner, false},
		{"warn,[{client=own}]=debug", inner, true},
		{"warn,[rescue{client=10.0.0.1,port}]=debug", span, false},
		{"warn,linkerd[rescue{client}]=debug", span, true},
		{"warn,other[rescue{client}]=debug", span, false},
		{"warn,[rescue]=debug,linkerd[rescue]=off", span, false},
	} {
		if got := logged(t, test.directives, PlainLog, test.say); (got != "") != test.want {
			t.Errorf("%q: wrote %q", test.directives, got)
		}
	}
}

func TestFilterErrors(t *testing.T) {
	for _, bad := range []string{
		"linkerd=loud", "=info", "[", "[]=info", "[{}]=info", "[{=1}]=info", "[a{b]=info", "[a}]=info", "[a{b}c]=info",
		"a[b]c=info", "a b=info", "a\x1b=info", "[a{b}{c}]=info", "info=", "linkerd=info=debug",
	} {
		f, err := NewFilter("linkerd=debug," + bad)
		if err == nil {
			t.Errorf("%q is accepted", bad)
			continue
		}
		if strings.ContainsAny(err.Error(), "\x1b") {
			t.Errorf("%q is not quoted: %v", bad, err)
		}
		if !strings.HasPrefix(f.String(), "linkerd=debug") {
			t.Errorf("%q: what can be read is %q", bad, f)
		}
		f, _ = NewFilter("info")
		if err := f.Set("linkerd=debug," + bad); err == nil || f.String() != "info" {
			t.Errorf("%q: Set gave %v, and left %q", bad, err, f)
		}
	}
}

func TestFilterChangesLive(t *testing.T) {
	var out, errs bytes.Buffer
	log, filter := Logs("warn,bad=bad,[{x},,", PlainLog, &out, &errs)
	if got := errs.String(); strings.Count(got, "directive") != 2 {
		t.Errorf("reported %q", got)
	}
	log = log.With("target", "outrigger::x")
	log.Debug("one")
	if err := filter.Set(" warn, linkerd=debug "); err != nil {
		t.Fatal(err)
	}
	if got := filter.String(); got != "warn,linkerd=debug" {
		t.Errorf("filter is %q", got)
	}
	log.Debug("two")
	if got := out.String(); strings.Contains(got, "one") || !strings.Contains(got, "two") {
		t.Errorf("wrote %q", got)
	}
}

func TestOffIsOff(t *testing.T) {
	for _, off := range []string{"off", " OFF\n"} {
		var out bytes.Buffer
		log, filter := Logs(off, PlainLog, &out, &out)
		log.Error("x")
		if filter != nil || out.Len() > 0 {
			t.Errorf("%q: filter %v, wrote %q", off, filter, out.String())
		}
	}
}

// stringer stands for what is only formatted when it is logged.
type stringer struct{ v slog.Value }

func (s stringer) LogValue() slog.Value { return s.v }

func TestPlainFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := logged(t, "trace", PlainLog, func(l *slog.Logger) {
			time.Sleep(1234 * time.Microsecond)
			l.Info("listening", "addr", "127.0.0.1:4140")
			l = l.With("target", "outrigger::outbound", "direction", "outbound")
			l.Warn("request failed", "error", errors.New(`server 10.0.0.1: "refused"`), "n", 3, "after", 1500*time.Millisecond)
			time.Sleep(1234567 * time.Second)
			l.WithGroup("proxy").With("addr", "x").WithGroup("rescue").With("client.addr", "10.0.0.1:5", "n", 1).Debug("deep", "k", "")
			l.Log(t.Context(), LevelTrace, "lowest", slog.Group("g", "a", 1, slog.Group("h", "b", true)), slog.Attr{}, "late", stringer{slog.StringValue("a b")})
			l.WithGroup("").Error("worst")
		})
		equalLines(t, strings.Split(strings.TrimSuffix(got, "\n"), "\n"),
			`[     0.001234s]  INFO outrigger: listening addr=127.0.0.1:4140`,
			`[     0.001234s]  WARN outrigger::outbound: request failed direction=outbound error="server 10.0.0.1: \"refused\"" n=3 after=1.5s`,
			`[1234567.001234s] DEBUG proxy{addr=x}:rescue{client.addr=10.0.0.1:5 n=1}: outrigger::outbound: deep direction=outbound k=""`,
			`[1234567.001234s] TRACE outrigger::outbound: lowest direction=outbound g.a=1 g.h.b=true late="a b"`,
			`[1234567.001234s] ERROR outrigger::outbound: worst direction=outbound`)
	})
}

func TestJSONFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock begins with the year 2000, UTC
		time.Sleep(678901 * time.Microsecond)
		got := logged(t, "trace", JSONLog, func(l *slog.Logger) {
			l.With("target", "outrigger::inbound", "a", 1).WithGroup("rescue").With("client.addr", "10.0.0.1:5").
				Info("denied", "error", errors.New("no"), "ok", true, "f", 0.5, "u", uint64(7), "inf", math.Inf(1), "for", time.Second)
		})
		const want = `{"timestamp":"2000-01-01T00:00:00.678901Z","level":"INFO","fields":{"message":"denied","a":1,"error":"no",` +
			`"ok":true,"f":0.5,"u":7,"inf":"+Inf","for":"1s"},"target":"outrigger::inbound",` +
			`"spans":[{"client.addr":"10.0.0.1:5","name":"rescue"}]}` + "\n"
		if got != want {
			t.Errorf("got  %swant %s", got, want)
		}
	})
}

// hostile are values as a peer could send them.
func hostile() []string {
	return []string{
		"a\r\nb", "\n[     0.000000s]  INFO forged: line", "\x1b[2J", "\x00", "\xff\xfe", "\u009b31m", "\u202e", "\u2028",
		"a=b c", `"`, `\`, "\x7f", "\U000E0001", strings.Repeat("é", maxLogged), "}: forged: x",
	}
}

// TestNoInjection puts each into every place of a line.
func TestNoInjection(t *testing.T) {
	for _, s := range hostile() {
		for _, format := range []LogFormat{PlainLog, JSONLog} {
			got := logged(t, "trace", format, func(l *slog.Logger) {
				l.With("target", s).With(s, s).WithGroup(s).With(s, s, "e", errors.New(s)).Info(s, s, s, "any", struct{ S string }{s})
			})
			if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") {
				t.Errorf("%q made %q", s, got)
			}
			if format == JSONLog && !json.Valid([]byte(got)) {
				t.Errorf("not JSON: %s", got)
			}
			if i := strings.IndexFunc(strings.TrimSuffix(got, "\n"), func(r rune) bool {
				return r < ' ' || r >= 0x7f && r <= 0x9f || slices.Contains([]rune{0x202e, 0x2028, 0xE0001}, r)
			}); i >= 0 {
				t.Errorf("%q made %q", s, got[i:min(len(got), i+20)])
			}
			if len(got) > 20*maxLogged {
				t.Errorf("a line has %d bytes", len(got))
			}
		}
	}
}

func TestJSONRoundTrip(t *testing.T) {
	for _, s := range hostile() {
		if len(s) > maxLogged {
			continue
		}
		var back string
		if err := json.Unmarshal(appendJSONString(nil, s), &back); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if want := strings.ToValidUTF8(s, "\uFFFD"); back != want && s != "\xff\xfe" {
			t.Errorf("%q came back as %q", s, back)
		}
	}
}

func TestDisabledLogAllocatesNothing(t *testing.T) {
	var out bytes.Buffer
	log, _ := Logs(DefaultLog, PlainLog, &out, &out)
	if n := testing.AllocsPerRun(100, func() { log.Debug("x", "k", "v") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		DefaultLog, "warn,linkerd=info,[{headers}]=off,[{request}]=off", "a[b{c=d,e}]=trace", "off", ",", "[[{{", "]}=",
		"linkerd_app_inbound::policy=debug", "x{[}]=1", `[a{b="c]"}]=5`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter, _ := NewFilter(text)
		if err := filter.Set(filter.String()); err != nil {
			t.Errorf("%q was read as %q, which is refused: %v", text, filter, err)
		}
		log := slog.New(newHandler(filter, JSONLog, &bytes.Buffer{}))
		log.WithGroup("a").With("b", "c").Warn("x", "headers", text)
		bad := errors.Join(filter.Set("["), filter.Set("=")) // refused whatever was there
		if bad == nil {
			t.Error("nonsense is accepted")
		}
	})
}

func FuzzLogLine(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var out bytes.Buffer
		for _, format := range []LogFormat{PlainLog, JSONLog} {
			out.Reset()
			filter, _ := NewFilter("trace")
			slog.New(newHandler(filter, format, &out)).With(s, s).WithGroup(s).With(s, s).Info(s, s, s)
			line := out.Bytes()
			if bytes.IndexByte(line, '\n') != len(line)-1 || bytes.ContainsAny(line, "\r\x1b\x00\x7f") {
				t.Errorf("%q made %q", s, line)
			}
			if format == JSONLog && !json.Valid(line) {
				t.Errorf("%q is not JSON", line)
			}
		}
	})
}
