//go:build race

package tee_test

const raced = true
