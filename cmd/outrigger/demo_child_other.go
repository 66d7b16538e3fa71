//go:build !linux

package main

import "syscall"

// childAttr has nothing to say here: a process is stopped by the demonstration, or
// by Ctrl-C, which reaches both.
func childAttr() *syscall.SysProcAttr { return nil }
