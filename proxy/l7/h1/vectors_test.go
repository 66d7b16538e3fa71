package h1

import (
	"fmt"
	"strings"
)

// A vector is what a hostile client sends. Behind it comes a request for /next,
// which is to be answered as such or never seen.
type vector struct {
	name, text string
	status     int    // of the answer; the connection is closed behind it, unless it is 200
	seen       string // what reaches the origin, if the answer is 200
}

const next = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

// refused returns vectors that differ in one part, and are all refused.
func refused(class string, status int, format string, parts ...string) (v []vector) {
	for _, p := range parts {
		v = append(v, vector{fmt.Sprintf("%s %.40q", class, p), fmt.Sprintf(format, p), status, ""})
	}
	return v
}

// passed returns vectors that differ in one part, and of which all is clear.
func passed(class, seen, format string, parts ...string) (v []vector) {
	for _, p := range parts {
		v = append(v, vector{fmt.Sprintf("%s %.40q", class, p), fmt.Sprintf(format, p), 200, seen + ", GET /next"})
	}
	return v
}

func vectors() (all []vector) {
	for _, v := range [][]vector{
		lengthVectors(), encodingVectors(), chunkVectors(), trailerVectors(), lineVectors(), fieldVectors(),
		targetVectors(), hostVectors(), upgradeVectors(), contentVectors(),
	} {
		all = append(all, v...)
	}
	return all
}

func lengthVectors() (v []vector) {
	const f = "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\nhello"
	for _, value := range []string{
		"+5", "-5", "0x5", "5.0", "5,5", "5, 5", "5 5", "5;", "5e0", "", "five", "5\x00", "5\x0b", "\x0c5", "\"5\"", "'5'", "1_0", "\uff15", "5\xa0",
		"18446744073709551621", "9223372036854775808", "99999999999999999999", "0000000000000000005", "5\r", "5\n", "5\r\nContent-Length: 5", "5\r\nContent-Length: 6",
		"6\r\nContent-Length: 5", "5\r\n 0", "5\r\n\t", "0\r\nTransfer-Encoding: chunked",
	} {
		v = append(v, refused("cl", 400, f, "Content-Length: "+value)...)
	}
	v = append(v, refused("cl name", 400, f, "Content-Length : 5", "Content-Length\t: 5", " Content-Length: 5", "Content-Length\x00: 5", "Content\rLength: 5", "Content-Length:5\rX: y")...)
	v = append(v, passed("cl", "POST /", f, "Content-Length: 5", "Content-Length:5", "content-length: \t 5", "CONTENT-LENGTH: 5 ", "Content-Length: 005", "Content-Length: 5\t")...)
	return append(v, passed("cl twin", "POST /", "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", "Content_Length: 5", "X-Content-Length: 5", "Content-Length: 0", "Content-Lengt: 5")...)
}

func encodingVectors() (v []vector) {
	const f = "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n0\r\n\r\n"
	v = refused("cl.te", 400, f, "Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 6\r\nTransfer-Encoding: chunked", "Content-Length: 0\r\nTransfer-Encoding: chunked",
		"Content-Length: 5\r\nX: y\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nTransfer-Encoding: identity")
	v = append(v, refused("te.cl", 400, f, "Transfer-Encoding: chunked\r\nContent-Length: 5", "transfer-encoding: chunked\r\ncontent-length: 3",
		"Transfer-Encoding: chunked\r\nContent-Length: 5\r\nContent-Length: 5", "Transfer-Encoding: xchunked\r\nContent-Length: 5")...)
	for _, value := range []string{
		"", "xchunked", "chunkedx", "chunke", "chunk", "identity", "chunked, identity", "identity, chunked", "chunked, chunked", "chunked,", ",chunked", "chunked;", "chunked;q=1",
		"\"chunked\"", "'chunked'", "\x0bchunked", "\x0cchunked", "chunked\x00", "\x00chunked", "chunked\x0b", "\u00a0chunked", "chunked\xa0", "chu nked", "gzip", "gzip, chunked", "deflate",
		"c\u017funked", "\u212ahunked", "chunked\r\nTransfer-Encoding: chunked", "chunked\r\nTransfer-Encoding: identity", "identity\r\nTransfer-Encoding: chunked", "chunked\r\n x", "\r\n chunked",
		"\nchunked", "\rchunked", "chunked\r", "chunked chunked", "[chunked]", "x\nTransfer-Encoding: chunked", "()chunked",
	} {
		v = append(v, refused("te", 400, f, "Transfer-Encoding: "+value)...)
	}
	v = append(v, refused("te name", 400, f, "Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", " Transfer-Encoding: chunked", "\tTransfer-Encoding: chunked", "Transfer-Encoding\x00: chunked",
		"Transfer\x0b-Encoding: chunked", "X: y\rTransfer-Encoding: chunked", "X: y\nTransfer-Encoding: chunked", "Transfer-Encoding", "Transfer Encoding: chunked", "Transfer-Encoding;: chunked",
		"Transfer-Encoding\xa0: chunked", ": chunked\r\nTransfer-Encoding: chunked", "X:\n\nTransfer-Encoding: chunked")...)
	v = append(v, refused("te in HTTP/1.0", 400, "POST / HTTP/1.0\r\nHost: a\r\n%s\r\n\r\n0\r\n\r\n", "Transfer-Encoding: chunked", "Connection: keep-alive\r\nTransfer-Encoding: chunked")...)
	v = append(v, passed("te", "POST /", f, "Transfer-Encoding: chunked", "Transfer-Encoding: CHUNKED", "transfer-encoding:\tchunked\t", "Transfer-Encoding:chunked ",
		"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding")...)
	return append(v, passed("te twin", "POST /", "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", "Transfer_Encoding: chunked", "Transfer-Encodin: chunked", "TransferEncoding: chunked", "TE: chunked")...)
}

func chunkVectors() (v []vector) {
	const f = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%s"
	v = refused("chunk", 400, f,
		"5\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\r\nhello\r\r\n0\r\n\r\n", "5\r\nhello\n\r0\r\n\r\n",
		"0x5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "5_0\r\n", " 5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "5\t\r\nhello\r\n0\r\n\r\n",
		"\r\n5\r\nhello\r\n0\r\n\r\n", "g\r\n", "5h\r\n", "\x005\r\n", "5\x00\r\n", "\uff15\r\n", "5.0\r\nhello\r\n0\r\n\r\n", "5,5\r\nhello\r\n0\r\n\r\n", "\"5\"\r\nhello\r\n0\r\n\r\n",
		"5\r\rhello\r\n0\r\n\r\n", "5\rhello\r\n0\r\n\r\n", "5;\nhello\r\n0\r\n\r\n", "5;a\rb\r\nhello\r\n0\r\n\r\n", "5;a\x00\r\nhello\r\n0\r\n\r\n", "5;a\x0b\r\nhello\r\n0\r\n\r\n", "5;a=\x7f\r\nhello\r\n0\r\n\r\n",
		"5 a\r\nhello\r\n0\r\n\r\n", "5 ;a\r\nhello\r\n0\r\n\r\n", "5;"+strings.Repeat("x", 64<<10)+"\r\nhello\r\n0\r\n\r\n", strings.Repeat("1;"+strings.Repeat("x", 200)+"\r\nx\r\n", 50)+"0\r\n\r\n",
		"10000000000000000\r\nx", "ffffffffffffffff\r\nx", "8000000000000000\r\nx", "0000000000000005\r\nhello\r\n0\r\n\r\n", strings.Repeat("0", 5000)+"5\r\nhello\r\n0\r\n\r\n",
		"5\r\nhello\r\n\r\n0\r\n\r\n", "0\n\r\n", "0\r\n\n", "0\r\nX: y\n\r\n", "5\r\nhello\r\n0\n\n", "3\r\nhello\r\n0\r\n\r\n", "6\r\nhello\r\n0\r\n\r\n", "\r\n\r\n", ";a\r\n0\r\n\r\n",
	)
	return append(v, passed("chunk", "POST /", f, "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n0;c\r\n\r\n", "5;a=\"b c\"\r\nhello\r\n0\r\n\r\n", "005\r\nhello\r\n000\r\n\r\n",
		"A\r\n0123456789\r\n0\r\n\r\n", "a\r\n0123456789\r\n0\r\n\r\n", "1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n", "24\r\nGET /inside HTTP/1.1\r\nHost: a\r\n\r\nxxx\r\n0\r\n\r\n")...)
}

func trailerVectors() (v []vector) {
	const f = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n%s\r\n\r\n"
	v = refused("trailer", 400, f, "X : y", " X: y", "X", ": y", "X: y\nZ: z", "X: y\rZ: z", "X: y\r\n z", "X: \x00", "X\x00: y", "X: y\n", "\nX: y", "\rX: y", "X: \x7f", "X Y: z", "GET / HTTP/1.1")
	v = append(v, refused("trailer", 431, f, "X: "+strings.Repeat("y", 65<<10), strings.TrimSuffix(strings.Repeat("X: y\r\n", 201), "\r\n"))...)
	return append(v, passed("trailer", "POST /", f, "X: y", "X-Sum: 1\r\nX-Other: 2", "Content-Length: 5", "Transfer-Encoding: chunked", "Host: b", "L5d-Client-Id: me", "l5d_client_id: me", "L5D-anything: x",
		"Authorization: Basic x", "Connection: close", "Trailer: X", "Content-Length: x\r\nX: y", "Transfer-Encoding: identity, x")...)
}

func lineVectors() (v []vector) {
	v = refused("line", 400, "%s\r\nHost: a\r\n\r\n", "GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET\t/\tHTTP/1.1", "GET\t/ HTTP/1.1", " GET / HTTP/1.1", "\tGET / HTTP/1.1", "GET / HTTP/1.1 ", "GET / HTTP/1.1\t", "GET / x HTTP/1.1",
		"GET /", "GET", "", "GET / ", "GET / HTTP/1.2", "GET / HTTP/1.10", "GET / HTTP/1.1x", "GET / HTTP/1.", "GET / HTTP/11", "GET / HTTP/01.1", "GET / http/1.1", "GET / HTTP/1.1 HTTP/1.1", "GET / HTTP/1,1", "GET / HTTPS/1.1",
		"GET / HTTP /1.1", "GET / HTTP/x.1", " / HTTP/1.1", "(GET) / HTTP/1.1", "G\x00T / HTTP/1.1", "GE\rT / HTTP/1.1", "GET: / HTTP/1.1", "G\xc3\x89T / HTTP/1.1", "\x00GET / HTTP/1.1", "\xef\xbb\xbfGET / HTTP/1.1", "\rGET / HTTP/1.1",
		"\nGET / HTTP/1.1", "GET / HTTP/1.1\r", "GET / HTTP/1.1\n", "GET /\nHTTP/1.1", "GET / HTTP/1.1\nX: y", "GET / HTTP/1.1\rX: y", "\x16\x03\x01\x02\x00", "HTTP/1.1 200 OK", "GET / HTTP/1.1\r\n\tX: y", strings.Repeat("\r\n", 5)+"GET / HTTP/1.1")
	v = append(v, refused("line", 505, "%s\r\nHost: a\r\n\r\n", "GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/3.0", "PRI * HTTP/2.0", "GET / HTTP/9.9")...)
	v = append(v, refused("end of line", 400, "%s", "GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\n\r\n", "GET / HTTP/1.1\r\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\r\n\n", "GET / HTTP/1.1\rHost: a\r\r", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.1\n\r\nHost: a\r\n\r\n")...)
	return append(v, passed("line", "GET /", "%sGET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n", "\r\n\r\n\r\n\r\n")...)
}

func fieldVectors() (v []vector) {
	v = refused("field", 400, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", "X : y", "X\t: y", " X: y", "\tX: y", ": y", ":", "X", "X y", "X Y: z", "X\x00: y", "X: \x00", "X: y\x00z", "X: y\x01", "X: y\x7f", "X: y\x1b[2J", "X: y\rz", "X: y\nz", "X: y\r\n z",
		"X: y\r\n\tz", "X:\r\n y", "X\xc3\xa9: y", "X(): y", "X/: y", "X\": y", "X: y\r", "X: y\n", "X\r: y", "\rX: y", "\x00: y", "{X}: y", "X=: y", "X;: y", "X,Y: z", "X\\: y", "GET /smuggled HTTP/1.1", "Connection: "+strings.Repeat("x,", 64)+"x")
	return append(v, passed("field", "GET /", "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", "X:y", "X:", "X: ", "X:\ty\t", "X: caf\xc3\xa9", "X: \xff\xfe", "!#$%&'*+-.^_`|~: y", "X: a:b: c", "X: \"GET /x HTTP/1.1\"", "Connection: Host, Content-Length, Transfer-Encoding", "Connection: ,,,", "X: y\r\nX: z")...)
}

func targetVectors() (v []vector) {
	v = refused("target", 400, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", "a", "?x", "*", "a:80", "a/b", "/a#b", "#", "/a\\b", "\\a", "/\x80", "/caf\xc3\xa9", "/\x01", "/\x00", "/\x7f", "/a\rb", "http://", "http:///x", "http:", "http:a", "http:/a", "http//a/", "://a/", "ftp://a/", "file:///etc/passwd",
		"javascript:alert(1)", "http://u@a/", "http://u:p@a/", "http://a:b/", "http://a:99999/", "http://a:80:80/", "http://[::1/", "http://[::1]x/", "http://[]/", "http://[x]/", "http://[1.2.3.4]/", "http://a#b/", "http://a\\b/", "http://a,b/", "http://a\"b/", "http://:80/", "http://?x", "http://a:-1/")
	v = append(v, refused("connect", 400, "CONNECT %s HTTP/1.1\r\nHost: a\r\n\r\n", "/", "/origin-form", "*", "http://a/", "http://a", "u@a:80", "a:80/x", "a:99999", "?", "a b:80", "[::1:80", ":80")...)
	v = append(v, refused("connect", 400, "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n%s\r\n\r\nhello", "Content-Length: 5", "Content-Length: 0", "Transfer-Encoding: chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked")...)
	v = append(v, refused("connect", 400, "CONNECT %s HTTP/1.0\r\nHost: a\r\n\r\n", "a:80", "a")...)
	v = append(v, vector{"connect that the origin refuses", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405, "CONNECT a:80, GET /next"})
	for _, target := range []string{"/%2f", "//a", "/../x", "/a;b", "/a%00b", "/%zz", "/a?b?c", "/a%0d%0aX:%20y", "/\"<>^`{|}", "http://b/x", "HTTP://b/", "http://b", "http://b?x", "https://b:8443/", "http://[::1]:80/", "http://a%20b/", "http://b:/"} {
		v = append(v, passed("target", "GET "+target, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target)...)
	}
	return append(v, passed("target", "OPTIONS *", "OPTIONS %s HTTP/1.1\r\nHost: a\r\n\r\n", "*")...)
}

func hostVectors() (v []vector) {
	v = refused("host", 400, "GET / HTTP/1.1\r\n%s\r\n\r\n", "X: y", "Host: a\r\nHost: a", "Host: a\r\nHost: b", "Host: a\r\nhost:", "Host: a,b", "Host: a/b", "Host: u@a", "Host: a b", "Host: a:b", "Host: a:99999", "Host: a:80:80", "Host: a#b", "Host: a?b", "Host: a\\b", "Host: \xff", "Host: caf\xc3\xa9",
		"Host: [::1", "Host: [::1]x", "Host: [v1.a]", "Host: []", "Host: [%]", "Host: :80", "Host: a\x00", "Host: http://a", "Host : a", " Host: a", "Host: a\r\n b", "Host: a\"", "Host: <a>", "Host: a:+80", "Host: a:080080", "Host: a\tb", "Host: [::1%<>]")
	v = append(v, refused("host", 400, "GET http://b/ HTTP/1.1\r\n%s\r\n\r\n", "X: y", "Host: a\r\nHost: b", "Host: u@b", "Host: a/b")...)
	v = append(v, passed("host", "GET /", "GET / HTTP/1.1\r\n%s\r\n\r\n", "Host: a", "Host:", "Host: a:80", "Host: a:", "Host: [::1]:80", "Host: [fe80::1%25eth0]", "HOST: A.b", "Host: a_b", "Host: 1.2.3.4", "Host:\ta\t", "Host: a%2eb")...)
	return append(v, passed("host", "GET http://b/", "GET http://b/ HTTP/1.1\r\n%s\r\n\r\n", "Host: a", "Host: b", "Host:")...)
}

func upgradeVectors() (v []vector) {
	const f = "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n"
	v = passed("upgrade", "GET /", f, "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk", "Upgrade: websocket", "Connection: Upgrade", "Connection: Upgrade\r\nUpgrade: websocket", "Connection: upgrade\r\nUpgrade: h2c, websocket",
		"Connection: Upgrade\r\nUpgrade: H2C", "Connection: Upgrade\r\nUpgrade:", "Connection: Upgrade\r\nUpgrade: ,", "Connection: keep-alive\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: x", "HTTP2-Settings: AAMAAABk", "Upgrade: TLS/1.0\r\nConnection: Upgrade")
	v = append(v, refused("upgrade", 400, f, "Connection: Upgrade\r\nUpgrade : websocket", "Connection: Upgrade\r\nUpgrade: web\x00socket", "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\nTransfer-Encoding: chunked")...)
	v = append(v, vector{"upgrade with content", "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello", 200, "POST /, GET /next"})
	return append(v, vector{"upgrade with chunks", "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "POST /, GET /next"})
}

func contentVectors() (v []vector) {
	inside := "GET /inside HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "get", "PURGE", "M-SEARCH"} {
		v = append(v, passed("content of "+method, method+" /", method+" / HTTP/1.1\r\nHost: a\r\n%s", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(inside), inside), fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(inside), inside))...)
	}
	const f = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n%s\r\n\r\nhello"
	v = append(v, refused("expect", 417, f, "Expect: 100-continuex", "Expect: x 100-continue", "Expect: 100-continue, x", "Expect: 100-continue\r\nExpect: x", "Expect: 100-continue\r\nExpect: 100-continue", "Expect:", "Expect: 200-ok", "Expect: 100")...)
	v = append(v, refused("expect", 400, f, "Expect : 100-continue", "Expect: 100-\rcontinue", "Expect: 100-continue\r\nTransfer-Encoding: chunked")...)
	v = append(v, vector{"expect on nothing", "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n", 200, "GET /, GET /next"})
	return append(v, refused("too large", 431, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", "X: "+strings.Repeat("y", 65<<10), strings.TrimSuffix(strings.Repeat("X: y\r\n", 201), "\r\n"), strings.Repeat("y", 70<<10))...)
}
