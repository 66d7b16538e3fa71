//go:build poison

package stack

const poisoned = true
