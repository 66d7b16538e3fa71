package pressure

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLevels goes up at the marks, and down later.
func TestLevels(t *testing.T) {
	m := Marks{High: 90, Acute: 95}
	level := Calm
	for i, step := range []struct {
		used int64
		want Level
	}{{899, Calm}, {900, High}, {949, High}, {950, Acute}, {901, Acute}, {899, High}, {851, High}, {849, Calm}, {899, Calm}, {2000, Acute}, {0, Calm}} {
		if level = m.Next(level, step.used, 1000); level != step.want {
			t.Fatalf("step %d, %d of 1000: level %d, want %d", i, step.used, level, step.want)
		}
	}
	if high, acute := m.Room(920, 1000); high != 0 || acute != 30 {
		t.Errorf("room at 920: %d and %d, want 0 and 30", high, acute)
	}
}

// TestShareOut always leaves something for others, and a descriptor to a server for
// each client.
func TestShareOut(t *testing.T) {
	for _, limit := range []int{64, 256, 1024, 20_000, 1 << 20} {
		d := shareOut(limit, 14)
		if d.Kept() < leastKept || d.Kept() > mostKept || 14+stillToCome+d.Conns*4/3 > d.Data || d.Conns < 10 {
			t.Errorf("of %d: %+v, %d kept", limit, d, d.Kept())
		}
	}
	if d := shareOut(16, 14); d.Conns != 1 || d.Kept() != 0 {
		t.Errorf("of hardly any: %+v", d)
	}
	if d, err := ReadDescriptors(); err != nil || d.Limit < 16 || d.Conns < 1 {
		t.Errorf("of this process: %+v, %v", d, err)
	}
}

// write makes a file, and the folders above.
func write(t *testing.T, text string, parts ...string) {
	t.Helper()
	name := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	mount1 = "30 25 0:26 %s /cg/memory rw - cgroup cgroup rw,memory\n"
	mount2 = "30 25 0:26 %s /cg rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
)

// TestMemory reads both versions of the interface, nested, and from within a
// container that sees its own group as the root.
func TestMemory(t *testing.T) {
	for name, tt := range map[string]struct {
		groups, mounts string
		files          map[string]string
		limit, used    int64 // 0 if there is no limit
	}{
		"version 1": {
			"5:cpu:/x\n4:memory:/a/b\n0::/\n", fmt.Sprintf(mount1, "/"),
			map[string]string{
				"memory/memory.limit_in_bytes":     "9223372036854771712\n",
				"memory/a/memory.limit_in_bytes":   "1000\n",
				"memory/a/memory.usage_in_bytes":   "900\n",
				"memory/a/memory.stat":             "cache 9\nactive_file 1\ntotal_inactive_file 100\ntotal_active_file 50\ntotal_mapped_file 30\n",
				"memory/a/b/memory.limit_in_bytes": "5000\n",
				"memory/a/b/memory.usage_in_bytes": "800\n",
				"memory/a/b/memory.stat":           "",
			},
			1000, 780,
		},
		"version 2": {
			"0::/pod/box\n", fmt.Sprintf(mount2, "/"),
			map[string]string{
				"pod/memory.max": "max\n", "pod/memory.high": "max\n",
				"pod/box/memory.max": "4000\n", "pod/box/memory.high": "2000\n",
				"pod/box/memory.current": "1900\n",
				"pod/box/memory.stat":    "anon 5\nfile_mapped 100\ninactive_file 200\nactive_file 300\n",
			},
			2000, 1500,
		},
		"a container's own": {
			"4:memory:/host/name\n", fmt.Sprintf(mount1, "/host/name"),
			map[string]string{"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "10", "memory/memory.stat": ""},
			1000, 10,
		},
		"a container's, whose name means nothing here": {
			"0::/../../x\n", fmt.Sprintf(mount2, "/else"),
			map[string]string{"memory.max": "1000", "memory.current": "10", "memory.stat": ""},
			1000, 10,
		},
		"no limit": {"0::/\n", fmt.Sprintf(mount2, "/"), nil, 0, 0},
		"no mount": {"0::/\n", "", nil, 0, 0},
		"no group": {"1:name=systemd:/\n", fmt.Sprintf(mount2, "/"), nil, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, tt.groups, root, "self", "cgroup")
			write(t, tt.mounts, root, "self", "mountinfo")
			for file, text := range tt.files {
				write(t, text, root, "cg", file)
			}
			m, err := OpenMemory(filepath.Join(root, "self"), root)
			if err != nil {
				t.Fatal(err)
			}
			if m == nil {
				if tt.limit != 0 {
					t.Fatal("no limit was found")
				}
				return
			}
			defer m.Close()
			used, limit, err := m.Used()
			if err != nil || used != tt.used || limit != tt.limit || m.Limit() != tt.limit {
				t.Errorf("%d of %d, least %d, %v; want %d of %d", used, limit, m.Limit(), err, tt.used, tt.limit)
			}
		})
	}
}

// TestMemoryThatMakesNoSense is an error, and not a limit of nothing.
func TestMemoryThatMakesNoSense(t *testing.T) {
	root := t.TempDir()
	write(t, "0::/\n", root, "self", "cgroup")
	write(t, fmt.Sprintf(mount2, "/"), root, "self", "mountinfo")
	for _, text := range []string{"", "-1", "much"} {
		write(t, text, root, "cg", "memory.max")
		if m, err := OpenMemory(filepath.Join(root, "self"), root); err == nil || m != nil {
			t.Errorf("%q: %v, %v", text, m, err)
		}
	}
	write(t, "1000", root, "cg", "memory.max")
	write(t, "what", root, "cg", "memory.current")
	write(t, "", root, "cg", "memory.stat")
	m, err := OpenMemory(filepath.Join(root, "self"), root)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, _, err := m.Used(); err == nil {
		t.Error("a use that is no number is none")
	}
}
