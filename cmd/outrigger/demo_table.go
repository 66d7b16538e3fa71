package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// A result is what became of the requests to one service.
type result struct {
	name, protocol string
	counts         counts
	p50, p99       time.Duration
}

func (l demoLoads) results() []result {
	var all []result
	for _, one := range l.all() {
		all = append(all, result{one.name, one.protocol, one.tally.now(), one.tally.percentile(50), one.tally.percentile(99)})
	}
	return all
}

// amiss says which requests failed, and of which there were too few.
func (l demoLoads) amiss() []string {
	var all []string
	for _, one := range l.all() {
		for _, err := range one.tally.failures() {
			all = append(all, err.Error())
		}
	}
	for _, protocol := range l.protocols() {
		if c := l.of(protocol); c.failed > 0 {
			all = append(all, fmt.Sprintf("%s of %s %s requests failed", number(c.failed), number(c.done), protocol))
		} else if c.done < demoLeast {
			all = append(all, fmt.Sprintf("there were only %s %s requests, not %s", number(c.done), protocol, number(demoLeast)))
		}
	}
	return all
}

// sceneHead is the head of the table of scenes, and sceneRow a row of it: what
// became of all requests since the last row, and the shares of the latest.
func sceneHead(ink ink) string {
	return fmt.Sprintf("%88s  %9s\n", "web by workload", "books") + ink.bold(
		fmt.Sprintf("%6s  %-47s %8s %6s   %4s %4s %4s  %4s %4s", "time", "while requests run …", "requests", "failed", "1", "2", "3", "v1", "v2"))
}

func sceneRow(ink ink, at time.Duration, text string, since, latest view) string {
	done, failed := since.total()
	return fmt.Sprintf("%5.1fs  %-47s %8s %s   %4s %4s %4s  %4s %4s", at.Seconds(), text, number(done), ink.count(failed, 6),
		percent(latest.web.share(1)), percent(latest.web.share(2)), percent(latest.web.share(3)),
		percent(latest.books.share(oldWorkload)), percent(latest.books.share(newWorkload)))
}

// renderTable is all that was seen.
func renderTable(ink ink, results []result, seen *account, amiss []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%95s\n", "answered by workload")
	fmt.Fprintln(&b, ink.bold(fmt.Sprintf("%-20s %-7s %10s %7s %8s %9s %10s %7s %4s %4s",
		"protocol", "service", "requests", "failed", "success", "p50", "p99", "1", "2", "3")))
	for _, r := range results {
		fmt.Fprintln(&b, r.row(ink))
	}
	if seen.shared != "" {
		fmt.Fprintf(&b, "\n%s\n", seen.shared)
	}
	fmt.Fprintf(&b, "\n%s\n", renderMutual(ink, seen.mutual))
	fmt.Fprintln(&b, ink.bold(fmt.Sprintf("%-29s %9s %17s %17s %13s", "counted by", "client", "outbound sidecar", "inbound sidecars", "applications")))
	for _, r := range seen.books {
		fmt.Fprintln(&b, r.row(ink))
	}
	fmt.Fprintln(&b)
	if len(amiss) == 0 {
		b.WriteString(ink.good("Every request succeeded, each in mutual TLS, and all counts agree."))
		return b.String()
	}
	b.WriteString(ink.bad("Not all was as it should be:"))
	for _, a := range amiss {
		b.WriteString("\n- " + a)
	}
	return b.String()
}

func (r result) row(ink ink) string {
	success := 0.0
	if r.counts.done > 0 {
		success = float64(r.counts.done-r.counts.failed) / float64(r.counts.done)
	}
	return fmt.Sprintf("%-20s %-7s %10s %s %7.2f%% %9s %10s %7s %4s %4s", r.protocol, r.name, number(r.counts.done), ink.count(r.counts.failed, 7),
		floor2(success*100), millis(r.p50), millis(r.p99), percent(r.counts.share(1)), percent(r.counts.share(2)), percent(r.counts.share(3)))
}

func (r ledgerRow) row(ink ink) string {
	verdict := ink.good("agree")
	if !r.agrees() {
		verdict = ink.bad("DISAGREE")
	}
	return fmt.Sprintf("%-29s %9s %17s %17s %13s  %s", r.what, number(r.client), number(r.outbound), number(r.inbound), number(r.app), verdict)
}

// floor2 cuts all but two decimals off, so that only 100 is shown as 100.00.
func floor2(f float64) float64 { return float64(int(f*100)) / 100 }

func percent(share float64) string { return fmt.Sprintf("%.0f%%", share*100) }

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// number writes thousands apart. What was not counted is a dash.
func number(n int) string {
	if n < 0 {
		return "–"
	}
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// An ink colors what a terminal shows. The zero ink does not.
type ink struct{ on bool }

// inkFor colors only what a person sees who has not asked for no color
// (no-color.org).
func inkFor(out io.Writer) ink {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return ink{}
	}
	info, err := f.Stat()
	return ink{err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (i ink) in(code, text string) string {
	if !i.on {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (i ink) bold(text string) string { return i.in("1", text) }
func (i ink) good(text string) string { return i.in("32", text) }
func (i ink) bad(text string) string  { return i.in("1;31", text) }

// count is a number of things that should be none, right in a column.
func (i ink) count(n, width int) string {
	text := fmt.Sprintf("%*s", width, number(n))
	if n > 0 {
		return i.bad(text)
	}
	return text
}
