package proxy_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// imports is the module's import rule: which of its packages each may import.
// It is a list from the bottom up, so it cannot hold a cycle.
var imports = []struct{ pkg, may string }{
	{"guard", ""},
	{"tls", ""},
	{"control", "guard tls"},
	{"discover", "guard tls control"},
	{"balance", "guard discover"},
	{"proxy/warm", ""},
	{"proxy/stack", "guard tls"},
	{"proxy/tee", "proxy/stack"},
	{"proxy/pressure", ""},
	{"profiles", "guard tls control discover proxy/stack"},
	{"proxy/policy", "tls control proxy/stack"},
	{"proxy/telemetry", "guard tls discover proxy/stack proxy/tee"},
	{"proxy/tap", "discover proxy/stack proxy/tee"},
	{"proxy/cache", "proxy/stack proxy/tee"},
	{"proxy/admin", "guard proxy/telemetry"},
	{"proxy/l4", "guard tls discover balance profiles proxy/stack proxy/policy proxy/warm"},
	{"proxy/l7/codec", "guard proxy/stack"},
	{"proxy/l7/h1", "guard proxy/stack proxy/l7/codec proxy/warm"},
	{"proxy/l7/h2", "guard proxy/stack proxy/l7/codec proxy/warm"},
	{"proxy/l7", "guard tls discover balance profiles proxy/stack proxy/policy proxy/l4 proxy/l7/codec proxy/l7/h1 proxy/l7/h2"},
	{"proxy", "guard tls control discover balance profiles proxy/stack proxy/policy proxy/tee proxy/telemetry proxy/tap proxy/cache proxy/admin proxy/pressure proxy/l4 proxy/l7/codec proxy/l7/h1 proxy/l7/h2 proxy/l7"},
	{"control/local", ""}, // a control plane shares no code with its client
	{"cmd/outrigger", "tls control discover profiles proxy/stack proxy/policy proxy/telemetry proxy/tap proxy/cache proxy/admin proxy control/local"},
}

// owners are the only packages that may import what comes from outside, it and
// all that is below it. Who is not in the list may be imported by any package.
var owners = []struct{ module, by string }{
	{"crypto/tls", "tls"},
	{"net/http", "proxy/telemetry proxy/admin control/local cmd/outrigger"},     // not on the data path
	{"google.golang.org/grpc", "control proxy/tap control/local cmd/outrigger"}, // the last for the demonstration's client and applications
	{"github.com/linkerd/linkerd2-proxy-api", "control discover profiles proxy/policy control/local"},
	{"golang.org/x/net", "proxy/l7/h2"},
	{"github.com/miekg/dns", "control"},
	{"github.com/go-kit/kit", "control proxy/l7"},
	{"github.com/prometheus", "proxy/telemetry proxy/admin"},
	{"github.com/fsnotify/fsnotify", "control/local"},
	{"go.yaml.in/yaml", "control/local"},
	{"github.com/spf13/cobra", "cmd/outrigger"},
	{"github.com/spiffe/go-spiffe", "control"},
	{"github.com/oklog/run", "cmd/outrigger"},
	// Tests make hosts of their own by these; the sidecar needs no such right.
	{"github.com/vishvananda/netlink", ""},
	{"github.com/vishvananda/netns", ""},
	{"github.com/google/nftables", ""},
	{"go.uber.org/goleak", ""},
}

const module = "github.com/outrigger-mesh/outrigger/"

func TestImports(t *testing.T) {
	may := map[string][]string{}
	for _, r := range imports {
		may[r.pkg] = strings.Fields(r.may)
		for _, m := range may[r.pkg] {
			if _, ok := may[m]; !ok {
				t.Errorf("the rule for %s names %s, which is not below it", r.pkg, m)
			}
		}
	}
	for path, names := range sources(t) {
		pkg := filepath.ToSlash(filepath.Dir(path))
		allowed, ok := may[pkg]
		if !ok {
			t.Errorf("%s: package %s has no import rule", path, pkg)
			continue
		}
		for _, name := range names {
			if own, ok := strings.CutPrefix(name, module); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s: %s may not import %s", path, pkg, own)
			}
			if by, owned := owner(name); owned && !slices.Contains(by, pkg) {
				t.Errorf("%s: %s may not import %s; only %q may", path, pkg, name, by)
			}
		}
	}
}

// TestOwners sees the table tell a module from one whose name begins alike.
func TestOwners(t *testing.T) {
	for name, want := range map[string]bool{
		"net/http":                          true,
		"net/http/httputil":                 true,
		"net/httptest":                      false,
		"net":                               false,
		"go.yaml.in/yaml/v3":                true,
		"google.golang.org/grpc/status":     true,
		"google.golang.org/protobuf/proto":  false,
		"github.com/prometheus/common/expf": true,
	} {
		if _, owned := owner(name); owned != want {
			t.Errorf("owner(%q): %v, want %v", name, owned, want)
		}
	}
}

func owner(name string) (by []string, owned bool) {
	for _, o := range owners {
		if name == o.module || strings.HasPrefix(name, o.module+"/") {
			return strings.Fields(o.by), true
		}
	}
	return nil, false
}

// sources returns what each of the module's files imports, tests left out.
func sources(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel("..", path)
		if d.IsDir() && (name == "tools" || name == "e2e" || strings.HasPrefix(d.Name(), ".") && name != ".") {
			return filepath.SkipDir // modules of their own, and no packages
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		found[name] = []string{}
		for _, im := range f.Imports {
			imported, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				return err
			}
			found[name] = append(found[name], imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("only %d files were found", len(found))
	}
	return found
}
