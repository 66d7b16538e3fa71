//go:build race

package proxy

// raced tests carry fewer bytes: the detector makes each cost several times as much.
const raced = true
