package h1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestProxyWithNetHTTP(t *testing.T) {
	origin := httpOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("x-path", r.URL.RequestURI())
		w.Header().Set("x-host", r.Host)
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(w, "%s %d ", r.Method, len(b))
		w.(http.Flusher).Flush()
		_, _ = w.Write(b)
		w.Header().Set("X-Sum", fmt.Sprint(len(b)))
	})
	addr := proxy(t, origin, testParams())
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, size := range []int{0, 1, 1000, 16 << 10, 100 << 10, 1 << 20} {
		for _, chunked := range []bool{false, true} {
			body := bytes.Repeat([]byte("x"), size)
			var rd io.Reader = bytes.NewReader(body)
			if chunked {
				rd = io.MultiReader(rd)
			}
			resp, err := client.Post("http://"+addr+"/p?q=1", "text/plain", rd)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			want := fmt.Sprintf("POST %d %s", size, body)
			if err != nil || string(got) != want {
				t.Fatalf("size %d, chunked %t: got %d bytes, %v; want %d", size, chunked, len(got), err, len(want))
			}
			if resp.Header.Get("x-path") != "/p?q=1" || resp.Trailer.Get("x-sum") != fmt.Sprint(size) {
				t.Errorf("headers %v, trailers %v", resp.Header, resp.Trailer)
			}
		}
	}
}

func TestPipelinedAnswersInOrder(t *testing.T) {
	origin := httpOrigin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	addr := proxy(t, origin, testParams())
	var text strings.Builder
	for i := range 50 {
		fmt.Fprintf(&text, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
	}
	text.WriteString("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	got := must(t, addr, text.String())
	rd := bufio.NewReader(strings.NewReader(got))
	for i := range 51 {
		resp, err := http.ReadResponse(rd, nil)
		if err != nil {
			t.Fatalf("answer %d: %v in %q", i, err, got)
		}
		b, _ := io.ReadAll(resp.Body)
		want := fmt.Sprintf("/%d", i)
		if i == 50 {
			want = "/last"
		}
		if string(b) != want {
			t.Errorf("answer %d: %q", i, b)
		}
	}
}
