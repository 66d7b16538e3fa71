package control_test

import (
	"context"
	"fmt"
	"time"

	"github.com/outrigger-mesh/outrigger/control"
)

// The first value is applied before Follow returns; the rest as they come.
func ExampleFollow() {
	colours := func(yield func(string, error) bool) {
		_ = yield("red", nil) && yield("green", nil) && yield("", fmt.Errorf("no more"))
	}
	ended := make(chan error)
	err := control.Follow(context.Background(), control.Watcher{}, colours,
		func(colour string) { fmt.Println(colour) },
		func(err error) { ended <- err })
	fmt.Println(<-ended, err)
	// Output:
	// red
	// green
	// no more <nil>
}

func ExampleBackoff() {
	delays := control.Backoff{Min: 100 * time.Millisecond, Max: 500 * time.Millisecond}.Start()
	for range 4 {
		fmt.Println(delays.Next())
	}
	// Output:
	// 100ms
	// 200ms
	// 400ms
	// 500ms
}
