package l4

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/outrigger-mesh/outrigger/discover"
	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// described is the message as its .proto file has it, for the protobuf library to
// read and write.
func described(tb testing.TB) protoreflect.MessageDescriptor {
	tb.Helper()
	one := func(name, of string, number int32, oneof *int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{
			Name: proto.String(name), Number: proto.Int32(number), OneofIndex: oneof,
			Type: kind.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		if of != "" {
			f.TypeName = proto.String(of)
		}
		return f
	}
	const message = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("transport.proto"), Package: proto.String("transport.l5d.io"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Header"), Field: []*descriptorpb.FieldDescriptorProto{
				one("port", "", 1, nil, descriptorpb.FieldDescriptorProto_TYPE_INT32),
				one("name", "", 2, nil, descriptorpb.FieldDescriptorProto_TYPE_STRING),
				one("session_protocol", ".transport.l5d.io.SessionProtocol", 3, nil, message),
			}},
			{
				Name: proto.String("SessionProtocol"), OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("kind")}},
				Field: []*descriptorpb.FieldDescriptorProto{
					one("http1", ".transport.l5d.io.Http1", 1, proto.Int32(0), message),
					one("http2", ".transport.l5d.io.Http2", 2, proto.Int32(0), message),
				},
			},
			{Name: proto.String("Http1")},
			{Name: proto.String("Http2")},
		},
	}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return file.Messages().ByName("Header")
}

// readBy has the protobuf library read a message.
func readBy(d protoreflect.MessageDescriptor, b []byte) (port int32, name string, s stack.Session, err error) {
	m := dynamicpb.NewMessage(d)
	err = proto.Unmarshal(b, m)
	session := m.Get(d.Fields().ByName("session_protocol")).Message()
	switch kind := session.WhichOneof(session.Descriptor().Oneofs().ByName("kind")); {
	case kind == nil:
	case kind.Name() == "http1":
		s = stack.HTTP1Session
	default:
		s = stack.HTTP2Session
	}
	return int32(m.Get(d.Fields().ByName("port")).Int()), m.Get(d.Fields().ByName("name")).String(), s, err
}

var headers = []Header{
	{Port: 1},
	{Port: 65535, Session: stack.HTTP1Session},
	{Port: 8080, Session: stack.HTTP2Session},
	{Port: 80, Name: "web.demo.svc.cluster.local"},
	{Port: 80, Name: strings.TrimSuffix(strings.Repeat("a123456789.", 23), "."), Session: stack.HTTP2Session},
}

// onWire is a header around a message.
func onWire(message string) string {
	return headerPreface + string(binary.BigEndian.AppendUint32(nil, uint32(len(message)))) + message
}

// TestHeader writes headers, which the protobuf library must read as they were
// meant, and reads them and what that library writes, in one piece and byte by byte.
func TestHeader(t *testing.T) {
	d := described(t)
	for _, h := range headers {
		b := h.Append([]byte("before"))[len("before"):]
		port, name, session, err := readBy(d, b[len(headerPreface)+4:])
		if err != nil || port != int32(h.Port) || name != h.Name || session != h.Session || binary.BigEndian.Uint32(b[len(headerPreface):]) != uint32(len(b)-27) {
			t.Errorf("%+v is written as %d, %q, %d, %v", h, port, name, session, err)
		}
		for _, n := range []int{len(b) + 5, 7, 1} {
			in := slices.Concat(b, []byte("after"))
			c := &stack.Conn{Conn: &pieces{of: slices.Collect(slices.Chunk(in, n))}}
			if got, err := ReadHeader(c, time.Second); err != nil || got != h {
				t.Errorf("by %d bytes: %+v, %v; want %+v", n, got, err, h)
			}
			if rest, _ := io.ReadAll(c); string(rest) != "after" {
				t.Errorf("by %d bytes: %q is left", n, rest)
			}
		}
	}
}

func readText(in string) (Header, error) {
	return ReadHeader(&stack.Conn{Conn: &pieces{of: [][]byte{[]byte(in)}}}, time.Second)
}

func TestHeaderTakesWhatItDoesNotKnow(t *testing.T) {
	for name, tt := range map[string]struct {
		message string
		want    Header
	}{
		"unknown fields":         {"\x08\x50\x28\x01\x32\x01x\x3d\x00\x00\x00\x00\x41\x00\x00\x00\x00\x00\x00\x00\x00", Header{Port: 80}},
		"an unknown group":       {"\x4b\x08\x01\x4c\x08\x50", Header{Port: 80}},
		"an unknown session":     {"\x08\x50\x1a\x02\x1a\x00", Header{Port: 80}},
		"an empty session":       {"\x08\x50\x1a\x00", Header{Port: 80}},
		"fields within HTTP/2":   {"\x08\x50\x1a\x04\x12\x02\x08\x01", Header{Port: 80, Session: stack.HTTP2Session}},
		"the last of two ports":  {"\x08\x51\x08\x50", Header{Port: 80}},
		"the last of two kinds":  {"\x08\x50\x1a\x04\x0a\x00\x12\x00", Header{Port: 80, Session: stack.HTTP2Session}},
		"two sessions":           {"\x08\x50\x1a\x02\x12\x00\x1a\x02\x0a\x00", Header{Port: 80, Session: stack.HTTP1Session}},
		"a long varint":          {"\x08\xd0\x80\x80\x80\x80\x80\x80\x80\x80\x00", Header{Port: 80}},
		"a name in capitals":     {"\x08\x50\x12\x03A.b", Header{Port: 80, Name: "a.b"}},
		"a name that was absent": {"\x08\x50\x12\x00", Header{Port: 80}},
	} {
		if h, err := readText(onWire(tt.message)); err != nil || h != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", name, h, err, tt.want)
		}
	}
}

func TestHeaderRefuses(t *testing.T) {
	good := string(headers[2].Append(nil))
	for name, tt := range map[string]struct {
		in   string
		want error
	}{
		"nothing":                    {"", ErrNoHeader},
		"HTTP/1":                     {"GET / HTTP/1.1\r\n\r\n", ErrNoHeader},
		"HTTP/2":                     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ErrNoHeader},
		"another version":            {strings.Replace(good, "v1", "v2", 1), ErrNoHeader},
		"half a preface":             {good[:10], ErrNoHeader},
		"no length":                  {good[:23], ErrNoHeader},
		"half a length":              {good[:25], ErrNoHeader},
		"no message":                 {good[:27], ErrHeader},
		"half a message":             {good[:len(good)-1], ErrHeader},
		"a message that is too long": {headerPreface + "\x00\x01\x00\x1c", ErrHeader},
		"a message of 4 GiB":         {headerPreface + "\xff\xff\xff\xff", ErrHeader},
		"an empty message":           {onWire(""), ErrHeader},
		"no port":                    {onWire("\x12\x01a"), ErrHeader},
		"port 0":                     {onWire("\x08\x00"), ErrHeader},
		"port 65536":                 {onWire("\x08\x80\x80\x04"), ErrHeader},
		"a negative port":            {onWire("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ErrHeader},
		"a port of another type":     {onWire("\x0a\x00"), ErrHeader},
		"a name of another type":     {onWire("\x08\x50\x10\x01"), ErrHeader},
		"a session of another type":  {onWire("\x08\x50\x18\x01"), ErrHeader},
		"a kind of another type":     {onWire("\x08\x50\x1a\x02\x08\x01"), ErrHeader},
		"a kind that is no message":  {onWire("\x08\x50\x1a\x03\x0a\x01\x08"), ErrHeader},
		"a session that overruns":    {onWire("\x08\x50\x1a\x02\x0a\x05"), ErrHeader},
		"a name that is none":        {onWire("\x08\x50\x12\x03a b"), ErrHeader},
		"a name that is an address":  {onWire("\x08\x50\x12\x0810.0.0.1"), ErrHeader},
		"a name that is too long":    {onWire("\x08\x50\x12\xac\x02" + strings.Repeat("a.", 150)), ErrHeader},
		"field 0":                    {onWire("\x08\x50\x00\x00"), ErrHeader},
		"an end without a group":     {onWire("\x08\x50\x4c"), ErrHeader},
		"a varint without an end":    {onWire("\x08" + strings.Repeat("\xff", 11)), ErrHeader},
	} {
		if h, err := readText(tt.in); !errors.Is(err, tt.want) || h != (Header{}) {
			t.Errorf("%s: %+v, %v; want %v", name, h, err, tt.want)
		}
	}
}

// TestHeaderEndsAtOnce: what is no header is not waited for.
func TestHeaderEndsAtOnce(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go client.Write([]byte("tra-"))
	if _, err := ReadHeader(&stack.Conn{Conn: server}, 0); !errors.Is(err, ErrNoHeader) {
		t.Error(err)
	}
}

func TestHeaderTimesOut(t *testing.T) {
	good := headers[2].Append(nil)
	for _, n := range []int{0, 10, 25, 29} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			var writer sync.WaitGroup
			writer.Go(func() { client.Write(good[:n]) })
			if _, err := ReadHeader(&stack.Conn{Conn: server}, time.Second); !errors.Is(err, ErrHeaderTimeout) {
				t.Errorf("after %d bytes: %v", n, err)
			}
			server.Close()
			writer.Wait()
		})
	}
}

// FuzzHeader: whatever this reads the protobuf library reads in the same way, and
// it is written and read back.
func FuzzHeader(f *testing.F) {
	d := described(f)
	for _, h := range headers {
		f.Add(h.Append(nil)[len(headerPreface)+headerLength:])
	}
	f.Add([]byte("\x08\x50\x1a\x04\x12\x02\x08\x01\x4b\x08\x01\x4c"))
	f.Fuzz(func(t *testing.T, message []byte) {
		h, err := readText(onWire(string(message)))
		if err != nil {
			if h != (Header{}) {
				t.Fatalf("%q: %+v beside %v", message, h, err)
			}
			return
		}
		port, name, session, err := readBy(d, message)
		if err != nil || port != int32(h.Port) || !strings.EqualFold(strings.TrimSuffix(name, "."), h.Name) || session != h.Session {
			t.Fatalf("%q: %+v, and to the library %d, %q, %d, %v", message, h, port, name, session, err)
		}
		if again, err := readText(string(h.Append(nil))); err != nil || again != h {
			t.Fatalf("%+v is read back as %+v, %v", h, again, err)
		}
	})
}

// agreed dials one end of a pipe, on which alpn was agreed on.
func agreed(alpn string) (stack.Dialer, net.Conn) {
	far, near := net.Pipe()
	return func(context.Context, stack.Session) (*stack.Conn, error) {
		return &stack.Conn{Conn: near, Secured: &stack.Secured{ALPN: alpn}}, nil
	}, far
}

func TestHeadedWritesFirst(t *testing.T) {
	dial, far := agreed(HeaderALPN)
	defer far.Close()
	got := make(chan Header, 1)
	go func() {
		h, _ := ReadHeader(&stack.Conn{Conn: far}, patience)
		got <- h
	}()
	c, err := Headed(Header{Port: 81, Name: "a.b"})(dial)(t.Context(), stack.HTTP2Session)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if h := <-got; h != (Header{Port: 81, Name: "a.b", Session: stack.HTTP2Session}) {
		t.Errorf("%+v", h)
	}
}

func TestHeadedLeavesOthersAlone(t *testing.T) {
	dial, far := agreed("")
	c, err := Headed(Header{Port: 81})(dial)(t.Context(), stack.NoSession)
	if err != nil {
		t.Fatal(err)
	}
	go c.Write([]byte("first"))
	var b [5]byte
	if _, err := io.ReadFull(far, b[:]); err != nil || string(b[:]) != "first" {
		t.Errorf("%q, %v", b, err)
	}
	c.Close()
	failed := errors.New("down")
	none := func(context.Context, stack.Session) (*stack.Conn, error) { return nil, failed }
	if _, err := Headed(Header{Port: 81})(none)(t.Context(), stack.NoSession); !errors.Is(err, failed) {
		t.Error(err)
	}
}

// TestHeadedIsBounded: a server that reads nothing does not hold the dial up.
func TestHeadedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, far := agreed(HeaderALPN)
		defer far.Close()
		start := time.Now()
		_, err := Within(time.Second)(Headed(Header{Port: 81})(dial))(t.Context(), stack.NoSession)
		if !errors.Is(err, ErrConnectTimeout) || !errors.Is(err, stack.ErrUnsent) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestHeadedTo(t *testing.T) {
	addr := netip.MustParseAddrPort("10.0.0.1:8080")
	for name, tt := range map[string]struct {
		e      discover.Endpoint
		h      Header
		at     string
		wanted bool
	}{
		"in the clear":            {discover.Endpoint{Addr: addr, InboundPort: 4143}, Header{}, "10.0.0.1:8080", false},
		"an identity":             {discover.Endpoint{Addr: addr, ID: "a"}, Header{Port: 8080}, "10.0.0.1:8080", false},
		"a sidecar's port":        {discover.Endpoint{Addr: addr, ID: "a", InboundPort: 4143}, Header{Port: 8080}, "10.0.0.1:4143", true},
		"a gateway":               {discover.Endpoint{Addr: addr, ID: "a", Authority: "web.test:80"}, Header{Port: 80, Name: "web.test"}, "10.0.0.1:8080", true},
		"a gateway's own port":    {discover.Endpoint{Addr: addr, ID: "a", Authority: "web.test:80", InboundPort: 4143}, Header{Port: 80, Name: "web.test"}, "10.0.0.1:4143", true},
		"an authority by itself":  {discover.Endpoint{Addr: addr, ID: "a", Authority: "web.test"}, Header{Port: 8080}, "10.0.0.1:8080", true},
		"an authority and port 0": {discover.Endpoint{Addr: addr, ID: "a", Authority: "web.test:0"}, Header{Port: 8080}, "10.0.0.1:8080", true},
	} {
		if h, at, wanted := HeadedTo(tt.e); h != tt.h || at.String() != tt.at || wanted != tt.wanted {
			t.Errorf("%s: %+v, %v, %v", name, h, at, wanted)
		}
	}
}
