package profiles

import (
	"io"
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func testLimits() Limits { return Limits{Pattern: 1024, Parts: 10_000} }

func newDecoder() *decoder { return &decoder{limits: testLimits()} }
