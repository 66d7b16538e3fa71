package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// startApp runs an application, and stops it when the test ends.
func startApp(t *testing.T) (at appAddrs) {
	t.Helper()
	p := &portPicker{}
	for i, addr := range []*string{&at.web, &at.shop, &at.feed, &at.chat, &at.db} {
		*addr = p.pick(t.Context(), 18081+i)
	}
	p.close()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&app{number: 2}).run(ctx, at) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for (probe{addr: at.db}).try(t.Context()) != nil || (probe{addr: at.web, path: countsPath}).try(t.Context()) != nil {
		if err := pause(t.Context(), demoTick); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

func TestApp(t *testing.T) {
	at := startApp(t)
	before := appCountsOf(t, at.web)
	opens := map[string]func() (client, func()){
		"web": httpClients(at.web, webService), "shop": httpClients(at.shop, shopService),
		"feed": http2Clients(at.feed, feedService), "db": tcpClients(at.db),
	}
	for _, k := range chatKinds() {
		opens[k.method] = chatClients(at.chat, chatService, k)
	}
	for name, open := range opens {
		request, done := open()
		for n := range 6 {
			if got, err := request(t.Context(), n); got != 2 || err != nil {
				t.Errorf("%s, request %d: %d, %v", name, n, got, err)
			}
		}
		done()
	}
	after := appCountsOf(t, at.web)
	if after.DB -= before.DB; before.Web != 0 || after != (appCounts{Web: 6, Shop: 6, Feed: 6, Chat: 24, DB: 6}) {
		t.Errorf("it counted %+v, and then %+v", before, after)
	}
}

// TestAppVersions: an answer proves in which version its request came.
func TestAppVersions(t *testing.T) {
	at := startApp(t)
	for name, open := range map[string]func() (client, func()){
		"HTTP/2 to shop": http2Clients(at.shop, shopService), "HTTP/1.1 to feed": httpClients(at.feed, feedService),
		"gRPC to feed": chatClients(at.feed, feedService, chatKinds()[0]), "HTTP/2 to chat": http2Clients(at.chat, chatService),
	} {
		request, done := open()
		if got, err := request(t.Context(), 0); err == nil {
			t.Errorf("%s: application %d answers", name, got)
		}
		done()
	}
}

// TestParts: a stream has as many messages whatever there is to say.
func TestParts(t *testing.T) {
	for _, size := range []int{0, 1, pieces, pieces + 1, 1000} {
		all := parts(make([]byte, size), true)
		if len(all) != pieces || len(bytes.Join(all, nil)) != size || len(parts(make([]byte, size), false)) != 1 {
			t.Errorf("%d bytes: %d messages of %d bytes", size, len(all), len(bytes.Join(all, nil)))
		}
	}
}

// TestChatNotices has an application forget a message, or answer another's.
func TestChatNotices(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service := &grpc.ServiceDesc{ServiceName: chatServiceName, HandlerType: (*any)(nil)}
	for _, k := range chatKinds() {
		d := k.desc()
		d.Handler = func(_ any, s grpc.ServerStream) error {
			heard, _ := hear(s)
			return s.SendMsg(wrapperspb.Bytes(append([]byte(greeting(1, k.path())), heard[:len(heard)/2]...)))
		}
		service.Streams = append(service.Streams, d)
	}
	s := grpc.NewServer()
	s.RegisterService(service, nil)
	go func() { _ = s.Serve(l) }()
	defer s.Stop()
	for _, k := range chatKinds() {
		request, done := chatClients(l.Addr().String(), chatService, k)()
		if _, err := request(t.Context(), 1); err == nil {
			t.Errorf("%s: half an answer was taken for one", k.name)
		}
		done()
	}
}

func appCountsOf(t *testing.T, addr string) (c appCounts) {
	t.Helper()
	text, err := fetch(t.Context(), addr, countsPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAppDelay(t *testing.T) {
	httpAddr := startApp(t).web
	for _, d := range []string{"", "x", "-1s"} {
		if _, err := ask(t.Context(), http.MethodPost, httpAddr, delayPath+"?d="+d); err == nil {
			t.Errorf("a delay of %q", d)
		}
	}
	if _, err := fetch(t.Context(), httpAddr, delayPath+"?d=1s"); err == nil {
		t.Error("a delay set by GET")
	}
	if _, err := ask(t.Context(), http.MethodPost, httpAddr, delayPath+"?d="+demoDelay.String()); err != nil {
		t.Fatal(err)
	}
	request, done := httpClients(httpAddr, webService)()
	defer done()
	start := time.Now()
	if _, err := request(t.Context(), 0); err != nil || time.Since(start) < appWork+demoDelay {
		t.Errorf("it took %s: %v", time.Since(start), err)
	}
}

// TestClientsNotice gives clients answers that are not right.
func TestClientsNotice(t *testing.T) {
	greeted := greeting(1, "POST /1 of HTTP/1.1")
	for name, answer := range map[string]string{
		"a status":         "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n",
		"another's answer": "HTTP/1.1 200 x\r\ncontent-length: 2\r\n\r\nhi",
		"content cut":      fmt.Sprintf("HTTP/1.1 200 x\r\ncontent-length: %d\r\n\r\n%s", len(greeted), greeted),
		"no answer":        "",
		"an answer cut":    "HTTP/1.1 200 x\r\ncontent-length: 2\r\n\r\nh",
	} {
		t.Run(name, func(t *testing.T) {
			addr := canned(t, answer)
			request, done := httpClients(addr, webService)()
			defer done()
			if _, err := request(t.Context(), 1); err == nil {
				t.Error("it was taken for an answer")
			}
			request, _ = tcpClients(addr)()
			if _, err := request(t.Context(), 1); err == nil {
				t.Error("it was taken for what was sent")
			}
		})
	}
}

// canned reads what it is sent, and answers with text.
func canned(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.CopyN(io.Discard, c, int64(len(content(1)))) // and its head stays, unread or not
			_, _ = io.WriteString(c, text)
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func TestContent(t *testing.T) {
	lengths := map[int]bool{}
	for n := range 1000 {
		c := content(n)
		if len(c) >= 16<<10 || bytes.ContainsAny(c, "\n") {
			t.Fatalf("content %d has %d bytes", n, len(c))
		}
		lengths[len(c)] = true
	}
	if len(lengths) < 1000 || strings.Contains(string(content(1)), "\x00") {
		t.Errorf("only %d lengths", len(lengths))
	}
}
