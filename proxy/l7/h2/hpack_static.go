package h2

import "strings"

// static is the static table (RFC 7541, appendix A). Its first entry has the number 1.
var static = makeStatic() //nolint:gochecknoglobals // a constant table

// staticNames finds the first entry of each name.
var staticNames = makeStaticNames() //nolint:gochecknoglobals // a constant table

const staticCount = 61

// staticText has a field a line, as name=value.
const staticText = `:authority=
:method=GET
:method=POST
:path=/
:path=/index.html
:scheme=http
:scheme=https
:status=200
:status=204
:status=206
:status=304
:status=400
:status=404
:status=500
accept-charset=
accept-encoding=gzip, deflate
accept-language=
accept-ranges=
accept=
access-control-allow-origin=
age=
allow=
authorization=
cache-control=
content-disposition=
content-encoding=
content-language=
content-length=
content-location=
content-range=
content-type=
cookie=
date=
etag=
expect=
expires=
from=
host=
if-match=
if-modified-since=
if-none-match=
if-range=
if-unmodified-since=
last-modified=
link=
location=
max-forwards=
proxy-authenticate=
proxy-authorization=
range=
referer=
refresh=
retry-after=
server=
set-cookie=
strict-transport-security=
transfer-encoding=
user-agent=
vary=
via=
www-authenticate=`

func makeStatic() (t [staticCount + 1]entry) {
	i := 1
	for line := range strings.SplitSeq(staticText, "\n") {
		name, value, _ := strings.Cut(line, "=")
		t[i] = entry{name: name, value: value, kind: kindOf(name, value)}
		i++
	}
	return t
}

func makeStaticNames() map[string]int {
	m := make(map[string]int)
	for i := staticCount; i > 0; i-- {
		m[static[i].name] = i
	}
	return m
}
