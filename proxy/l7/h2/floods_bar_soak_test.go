//go:build soak

package h2_test

import "time"

const unnoticed = 5 * time.Millisecond
