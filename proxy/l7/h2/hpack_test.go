package h2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
)

// pairs are fields as name, value, name, value.
func pairs(h *stack.Header) (all []string) {
	for name, value := range h.All() {
		all = append(all, name, value)
	}
	return all
}

func decodeBlock(d *decoder, p []byte) ([]string, error) {
	var h stack.Header
	b := block{to: &h, mostBytes: 1 << 20, mostFields: 1000, length: -1}
	err := d.decode(p, &b)
	if b.malformed != "" && err == nil {
		err = fmt.Errorf("malformed: %s", b.malformed)
	}
	return pairs(&h), err
}

// TestStaticTable compares the static table with that of another implementation.
func TestStaticTable(t *testing.T) {
	for i := 1; i <= staticCount; i++ {
		var got hpack.HeaderField
		d := hpack.NewDecoder(0, func(f hpack.HeaderField) { got = f })
		if _, err := d.Write([]byte{0x80 | byte(i)}); err != nil || got.Name != static[i].name || got.Value != static[i].value {
			t.Errorf("entry %d is %s: %s, want %v, %v", i, static[i].name, static[i].value, got, err)
		}
	}
}

// TestHPACKAgainstAnother encodes random messages, with few values and with many, for
// another implementation's decoder, and decodes what its encoder makes of them.
func TestHPACKAgainstAnother(t *testing.T) {
	for _, size := range []uint32{0, 64, 200, 4096} {
		t.Run(fmt.Sprint(size), func(t *testing.T) { againstAnother(t, size, rand.New(rand.NewPCG(1, uint64(size)))) })
	}
}

func againstAnother(t *testing.T, size uint32, random *rand.Rand) {
	t.Helper()
	enc := newEncoder()
	var seen []string
	theirs := hpack.NewDecoder(4096, func(f hpack.HeaderField) { seen = append(seen, f.Name, f.Value) })
	var wire bytes.Buffer
	theirEnc := hpack.NewEncoder(&wire)
	ours := newDecoder()
	for round := range 3000 {
		if round == 1000 {
			enc.setLimit(size)
			theirEnc.SetMaxDynamicTableSize(size)
		}
		if round == 2000 { // down and up between two blocks
			enc.setLimit(0)
			enc.setLimit(300)
		}
		want := randomFields(random)
		var h stack.Header
		wire.Reset()
		for f := range slices.Chunk(want, 2) {
			secret := random.IntN(10) == 0
			if secret {
				h.AddSensitive(f[0], f[1])
			} else {
				h.AddParsed(f[0], f[1])
			}
			_ = theirEnc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1], Sensitive: secret})
		}
		enc.begin(nil)
		enc.fields(&h, func(_, _ string) bool { return false })
		seen = nil
		if _, err := theirs.Write(enc.end()); err != nil || theirs.Close() != nil || !slices.Equal(seen, want) {
			t.Fatalf("round %d: they decode %q, %v; want %q", round, seen, err, want)
		}
		if got, err := decodeBlock(&ours, wire.Bytes()); err != nil || !slices.Equal(got, want) {
			t.Fatalf("round %d: we decode %q, %v; want %q", round, got, err, want)
		}
	}
}

func randomFields(random *rand.Rand) (fields []string) {
	for range random.IntN(12) {
		name := []string{"accept", "x-a", "x-b", "cookie", "user-agent", "content-type", "etag", "date"}[random.IntN(8)]
		value := []string{"", "1", "text/plain", strings.Repeat("long", 50), "\xe9\xff", fmt.Sprint(random.IntN(500))}[random.IntN(6)]
		fields = append(fields, name, value)
	}
	return fields
}

func TestHPACKRefuses(t *testing.T) {
	for name, block := range map[string]string{
		"index 0":               "\x80",
		"index without entry":   "\xbe",
		"name without entry":    "\x7e\x01a",
		"huge index":            "\xff\xff\xff\xff\xff\xff\x7f",
		"number without end":    "\xff\x80\x80\x80\x80\x80\x80\x80\x80",
		"number cut short":      "\xff",
		"string cut short":      "\x40\x05abc",
		"no value":              "\x40\x01a",
		"no name":               "\x40",
		"huffman: all ones":     "\x40\x01a\x81\xff",
		"huffman: end of text":  "\x40\x01a\x84\xff\xff\xff\xff",
		"size update too large": "\x3f\xe2\x1f",
		"size update amid":      "\x82\x20",
	} {
		d := newDecoder()
		if got, err := decodeBlock(&d, []byte(block)); err == nil {
			t.Errorf("%s: decoded to %q", name, got)
		}
	}
}

// FuzzHPACK compares our decoder with another: what both take, they read alike.
func FuzzHPACK(f *testing.F) {
	for _, seed := range []string{"\x82\x86\x84\x41\x0fwww.example.com", "\x40\x01a\x01b\xbe", "\x20\x3f\xe1\x1f\x82", "\x10\x01a\x81\x1f"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		var want []string
		theirs := hpack.NewDecoder(4096, func(f hpack.HeaderField) { want = append(want, f.Name, f.Value) })
		_, theirErr := theirs.Write(p)
		if err := theirs.Close(); theirErr == nil {
			theirErr = err
		}
		d := newDecoder()
		got, err := decodeBlock(&d, p)
		if err == nil && theirErr == nil && !slices.Equal(got, plainOnly(want)) {
			t.Errorf("read as %q, by the other as %q", got, want)
		}
		if d.table.size > hpackTable || d.table.count > hpackTable/entryOverhead {
			t.Errorf("table holds %d bytes, %d entries", d.table.size, d.table.count)
		}
	})
}

// plainOnly leaves the pseudo-fields out, which are not among a message's fields.
func plainOnly(fields []string) (rest []string) {
	for f := range slices.Chunk(fields, 2) {
		if !strings.HasPrefix(f[0], ":") {
			rest = append(rest, f...)
		}
	}
	return rest
}

func BenchmarkHPACK(b *testing.B) {
	var h stack.Header
	for f := range slices.Chunk([]string{
		"user-agent", "bench/1.0", "accept", "*/*", "x-request-kind", "some value", "content-type", "application/grpc", "te", "trailers",
	}, 2) {
		h.AddParsed(f[0], f[1])
	}
	enc, dec := newEncoder(), newDecoder()
	var to stack.Header
	none := func(_, _ string) bool { return false }
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		enc.begin(buf[:0])
		enc.fields(&h, none)
		buf = enc.end()
		to.Reset()
		if err := dec.decode(buf, &block{to: &to, mostBytes: 1 << 16, mostFields: 100, length: -1}); err != nil {
			b.Fatal(err)
		}
	}
}
