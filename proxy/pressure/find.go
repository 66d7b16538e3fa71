package pressure

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// findGroup finds the group that accounts for the process's memory, by
// /proc/self/cgroup and mountinfo (cgroups(7), proc_pid_mountinfo(5)).
func findGroup(self string) (place, error) {
	groups, err := os.ReadFile(filepath.Join(self, "cgroup")) //nolint:gosec // /proc/self, but for tests
	if err != nil {
		return place{}, fmt.Errorf("control group: %w", err)
	}
	mounts, err := os.ReadFile(filepath.Join(self, "mountinfo")) //nolint:gosec // as above
	if err != nil {
		return place{}, fmt.Errorf("control group: %w", err)
	}
	if dir, ok := groupOf(string(groups), "memory"); ok {
		at := place{files: files{"memory.usage_in_bytes", []string{"memory.limit_in_bytes"}}}
		at.mount, at.dir = mounted(string(mounts), "cgroup", "memory", dir)
		return at, nil
	}
	dir, ok := groupOf(string(groups), "")
	if !ok {
		return place{}, nil
	}
	at := place{files: files{"memory.current", []string{"memory.max", "memory.high"}}}
	at.mount, at.dir = mounted(string(mounts), "cgroup2", "", dir)
	return at, nil
}

// groupOf returns the group of a controller; that of version 2 has no name.
func groupOf(text, controller string) (string, bool) {
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 && slices.Contains(strings.Split(f[1], ","), controller) {
			return path.Clean("/" + f[2]), true
		}
	}
	return "", false
}

// mounted returns where a hierarchy is mounted, and where below that the group is. A
// container may see its own group as the mount's root, under a name of the host's.
func mounted(text, kind, controller, dir string) (mount, below string) {
	for line := range strings.Lines(text) {
		head, tail, _ := strings.Cut(strings.TrimSpace(line), " - ")
		f, super := strings.Fields(head), strings.Fields(tail)
		if len(f) < 5 || len(super) < 3 || super[0] != kind {
			continue
		}
		if controller != "" && !slices.Contains(strings.Split(super[2], ","), controller) {
			continue
		}
		rest, ok := strings.CutPrefix(dir, strings.TrimSuffix(f[3], "/"))
		if !ok || rest != "" && rest[0] != '/' || strings.HasPrefix(rest, "/..") {
			rest = ""
		}
		return f[4], path.Clean("/" + rest)
	}
	return "", ""
}
