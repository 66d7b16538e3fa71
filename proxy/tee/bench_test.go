package tee_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/outrigger-mesh/outrigger/proxy/stack"
	"github.com/outrigger-mesh/outrigger/proxy/tee"
)

// BenchmarkConsumers pulls 10 MiB in chunks of 64 KiB: what consumers cost on the
// path of a message, beside what reading it does.
func BenchmarkConsumers(b *testing.B) {
	drain := func(ctx context.Context, s *tee.Stream) error {
		for {
			if _, err := s.Next(ctx); err != nil {
				return err
			}
		}
	}
	part := make([]byte, 64<<10)
	for name, consumers := range map[string][]tee.Consume{
		"none": nil, "one": {drain}, "two": {drain, drain}, "stuck": {stuck},
	} {
		b.Run(name, func(b *testing.B) {
			tees := tee.New(config())
			defer tees.Close(0)
			b.SetBytes(160 * int64(len(part)))
			for b.Loop() {
				resp := ok(&chunks{Body: stack.Empty(), rest: make([][]byte, 160), err: io.EOF, size: -1})
				for i := range 160 {
					resp.Body.(*chunks).rest[i] = part
				}
				for i, c := range consumers {
					_ = tees.Consumer(tee.Options{Name: fmt.Sprint(i)}).Response(get(), resp, c)
				}
				for err := error(nil); err == nil; {
					_, err = resp.Body.Next(b.Context())
				}
				_ = resp.Body.Close(nil)
				if name == "stuck" {
					b.StopTimer()
					tees.Close(0)
					tees = tee.New(config())
					b.StartTimer()
				}
			}
		})
	}
}
