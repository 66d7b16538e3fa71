package main

import "syscall"

// childAttr makes a process that ends with this one, however this one ends, and
// that Ctrl-C does not reach: the demonstration stops it in its own time.
//
// The kernel ties this to the thread that starts the process. Go ends a thread
// only with a goroutine that is locked to it, and none is here.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
