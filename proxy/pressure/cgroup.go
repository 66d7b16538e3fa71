package pressure

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// A Memory is the limits on memory of the control groups that the process is in,
// and what they use. A group's use is all that counts against its limit, the
// kernel's buffers included, without the pages of files that can be dropped at
// once.
type Memory struct {
	groups []group
	buf    []byte
}

// A group is one that has a limit.
type group struct {
	limit       int64
	usage, stat *os.File
}

// unlimited is more than any machine has; version 1 of the interface says "none"
// by such a number.
const unlimited = 1 << 60

// OpenMemory finds the limits, given where /proc/self is and the root of the file
// system. It returns nil if there are none.
func OpenMemory(self, root string) (*Memory, error) {
	at, err := findGroup(self)
	if err != nil || at.mount == "" {
		return nil, err
	}
	m := &Memory{buf: make([]byte, 16<<10)}
	for dir := at.dir; ; dir = path.Dir(dir) {
		if err := m.add(filepath.Join(root, at.mount, dir), at.files); err != nil {
			return nil, errors.Join(err, m.Close())
		}
		if dir == "/" {
			break
		}
	}
	if len(m.groups) == 0 {
		return nil, nil
	}
	return m, nil
}

// Close closes what is read again and again.
func (m *Memory) Close() error {
	var errs []error
	for _, g := range m.groups {
		errs = append(errs, g.usage.Close(), g.stat.Close())
	}
	return errors.Join(errs...)
}

// Limit returns the least limit.
func (m *Memory) Limit() int64 {
	least := int64(math.MaxInt64)
	for _, g := range m.groups {
		least = min(least, g.limit)
	}
	return least
}

// Used returns the use and the limit of the group that is nearest to its limit.
func (m *Memory) Used() (used, limit int64, err error) {
	for _, g := range m.groups {
		u, err := m.used(&g)
		if err != nil {
			return 0, 0, err
		}
		if limit == 0 || float64(u)/float64(g.limit) > float64(used)/float64(limit) {
			used, limit = u, g.limit
		}
	}
	return used, limit, nil
}

// used leaves the pages of files that are not mapped out: they are dropped before
// anybody is killed. Those that are mapped are the program itself.
func (m *Memory) used(g *group) (int64, error) {
	text, err := m.read(g.usage)
	if err != nil {
		return 0, err
	}
	used, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", g.usage.Name(), err)
	}
	if used < g.limit/4*3 {
		return used, nil // whatever the files are
	}
	if text, err = m.read(g.stat); err != nil {
		return 0, err
	}
	return used - droppable(text), nil
}

// droppable reads memory.stat of either version: 1 has the sums over all groups
// below with "total_" ahead.
func droppable(stat []byte) int64 {
	var files, mapped int64
	seen := false
	for line := range bytes.Lines(stat) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		total, ok := strings.CutPrefix(name, "total_")
		if ok && !seen {
			files, mapped, seen = 0, 0, true
		}
		if seen && !ok {
			continue
		}
		n, _ := strconv.ParseInt(value, 10, 64) // what cannot be read is not left out
		switch total {
		case "active_file", "inactive_file":
			files += n
		case "mapped_file", "file_mapped":
			mapped += n
		}
	}
	return max(files-mapped, 0)
}

// read reads a file of the kernel's from its beginning. What is returned is valid
// until the next read.
func (m *Memory) read(f *os.File) ([]byte, error) {
	n, err := f.ReadAt(m.buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("control group: %w", err)
	}
	return m.buf[:n], nil
}

// A place is where the process's group is.
type place struct {
	mount, dir string
	files      files
}

// files are the names of one version of the interface. The first of limits is
// there wherever there can be one.
type files struct {
	usage  string
	limits []string
}

// add adds the group in dir, if it has a limit.
func (m *Memory) add(dir string, names files) error {
	limit := int64(unlimited)
	for _, name := range names.limits {
		l, err := readLimit(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		limit = min(limit, l)
	}
	if limit >= unlimited {
		return nil
	}
	usage, err := os.Open(filepath.Join(dir, names.usage)) //nolint:gosec // the kernel says where it is
	if err != nil {
		return fmt.Errorf("control group: %w", err)
	}
	stat, err := os.Open(filepath.Join(dir, "memory.stat")) //nolint:gosec // as above
	if err != nil {
		return errors.Join(fmt.Errorf("control group: %w", err), usage.Close())
	}
	m.groups = append(m.groups, group{limit: limit, usage: usage, stat: stat})
	return nil
}

func readLimit(name string) (int64, error) {
	text, err := os.ReadFile(name) //nolint:gosec // the kernel says where it is
	word := strings.TrimSpace(string(text))
	switch {
	case errors.Is(err, fs.ErrNotExist), word == "max": // the root group has none
		return unlimited, nil
	case err != nil:
		return 0, fmt.Errorf("control group: %w", err)
	}
	limit, err := strconv.ParseInt(word, 10, 64)
	if err != nil || limit < 0 {
		return 0, fmt.Errorf("%s: %q is no limit", name, word)
	}
	return limit, nil
}
