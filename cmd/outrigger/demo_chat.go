package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// chatServiceName is the gRPC service that the applications have.
const chatServiceName = "outrigger.demo.Chat"

// A chatKind is one of the four kinds of gRPC's methods.
type chatKind struct {
	name, method string
	clients      int
	// asksMany and answersMany say which side sends a stream of messages.
	asksMany, answersMany bool
}

// pieces is how many messages a stream has.
const pieces = 3

func chatKinds() []chatKind {
	return []chatKind{
		{"unary", "Unary", callClients, false, false},
		{"server stream", "ServerStream", callClients, false, true},
		{"client stream", "ClientStream", callClients, true, false},
		{"bidirectional", "Bidirectional", talkClients, true, true},
	}
}

// desc is k as grpc-go is told of it.
func (k chatKind) desc() grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: k.method, ClientStreams: k.asksMany, ServerStreams: k.answersMany}
}

func (k chatKind) path() string { return "/" + chatServiceName + "/" + k.method }

// parts cuts content into as many messages as a stream has, or leaves it whole.
func parts(content []byte, many bool) [][]byte {
	if !many {
		return [][]byte{content}
	}
	size := (len(content) + pieces - 1) / pieces
	all := make([][]byte, 0, pieces)
	for range pieces {
		n := min(size, len(content))
		all = append(all, content[:n])
		content = content[n:]
	}
	return all
}

// chatServer answers gRPC as answer does HTTP. Its messages are bytes.
func (a *app) chatServer() *grpc.Server {
	service := &grpc.ServiceDesc{ServiceName: chatServiceName, HandlerType: (*any)(nil)}
	for _, k := range chatKinds() {
		d := k.desc()
		d.Handler = func(_ any, s grpc.ServerStream) error { return a.chat(s, k) }
		service.Streams = append(service.Streams, d)
	}
	s := grpc.NewServer()
	s.RegisterService(service, a)
	return s
}

// chat answers once it has heard all, or, if both sides stream, each message at once.
func (a *app) chat(s grpc.ServerStream, k chatKind) error {
	a.chatN.Add(1)
	if err := a.work(s.Context()); err != nil {
		return err
	}
	answer := []byte(greeting(a.number, k.path()))
	for {
		heard, err := hear(s)
		switch {
		case errors.Is(err, io.EOF) && k.asksMany && k.answersMany:
			return nil
		case errors.Is(err, io.EOF):
			return tellAll(s, parts(answer, k.answersMany))
		case err != nil:
			return err
		}
		answer = append(answer, heard...)
		if k.asksMany && k.answersMany {
			if err := s.SendMsg(wrapperspb.Bytes(answer)); err != nil {
				return err
			}
			answer = nil
		}
	}
}

// A chatStream is either side of a call.
type chatStream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

func hear(s chatStream) ([]byte, error) {
	m := &wrapperspb.BytesValue{}
	err := s.RecvMsg(m)
	return m.GetValue(), err
}

func tellAll(s chatStream, messages [][]byte) error {
	for _, m := range messages {
		if err := s.SendMsg(wrapperspb.Bytes(m)); err != nil {
			return err
		}
	}
	return nil
}

// chatClients makes what the clients of one kind of method call it by: one connection
// for all of them.
func chatClients(addr, host string, k chatKind) func() (client, func()) {
	return func() (client, func()) {
		conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithAuthority(host), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig())
		if err != nil {
			return func(context.Context, int) (int, error) { return 0, err }, func() {}
		}
		return func(ctx context.Context, n int) (int, error) { return call(ctx, conn, k, n) }, func() { _ = conn.Close() }
	}
}

// call makes one call, and sees that every message comes back.
func call(ctx context.Context, conn *grpc.ClientConn, k chatKind, n int) (int, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	desc := k.desc()
	s, err := conn.NewStream(ctx, &desc, k.path())
	if err != nil {
		return 0, err
	}
	sent := content(n)
	var got []byte
	for _, m := range parts(sent, k.asksMany) {
		if err := s.SendMsg(wrapperspb.Bytes(m)); err != nil {
			return 0, errors.Join(err, s.RecvMsg(&wrapperspb.BytesValue{})) // which says why
		}
		if k.asksMany && k.answersMany {
			heard, err := hear(s)
			if err != nil {
				return 0, fmt.Errorf("after a message of many: %w", err)
			}
			got = append(got, heard...)
		}
	}
	if err := s.CloseSend(); err != nil {
		return 0, err
	}
	rest, err := hearAll(s, k.answersMany)
	if err != nil {
		return 0, err
	}
	return answeredBy(append(got, rest...), k.path(), sent)
}

// hearAll reads what is left of an answer, and its status.
func hearAll(s chatStream, many bool) (all []byte, err error) {
	for {
		heard, err := hear(s)
		if many && errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if all = append(all, heard...); !many {
			return all, nil // grpc-go has read the status of an answer of one message
		}
	}
}
