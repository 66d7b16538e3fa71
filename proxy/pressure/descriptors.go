package pressure

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Descriptors says how the process's descriptors are shared out. A new descriptor
// has the lowest number that is free, so that its number says how many are in use
// at least: nothing has to be counted.
type Descriptors struct {
	Limit int // of the process
	Data  int // numbers from here on are the admin port's, the control plane's, and DNS's
	Conns int // of clients, at once: most share connections to servers, and those that do not find none left
}

// The least and the most that is kept for all but data.
const (
	leastKept = 16
	mostKept  = 128
	// stillToCome are descriptors that a process needs beside data and has not opened
	// when its listeners are open.
	stillToCome = 8
)

// ReadDescriptors reads the limit that is in force, which package os has raised as
// far as it may, and how many are in use. It is called when all listeners are open.
func ReadDescriptors() (Descriptors, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return Descriptors{}, fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	next, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return Descriptors{}, fmt.Errorf("next descriptor: %w", err)
	}
	_ = unix.Close(next)
	const many = 1 << 30 // "unlimited" fits into an int then
	return shareOut(int(min(limit.Cur, many)), next), nil
}

func shareOut(limit, used int) Descriptors {
	kept := min(max(limit/8, leastKept), mostKept)
	data := max(limit-kept, used+2)
	return Descriptors{Limit: limit, Data: data, Conns: max((data-used-stillToCome)*3/4, 1)}
}

// Kept is how many are never data's.
func (d Descriptors) Kept() int { return max(d.Limit-d.Data, 0) }
