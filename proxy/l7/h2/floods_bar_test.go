//go:build !soak

package h2_test

import "time"

// unnoticed is what good traffic may be kept waiting beside a flood, if that is more
// than twice as long as without: where other tests run at the same time, so much is
// theirs. With the tag soak, by itself on a machine, it is 5 ms.
const unnoticed = 250 * time.Millisecond
