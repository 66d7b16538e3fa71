package local

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a mesh file, in bytes.
const maxFile = 16 << 20

// Load reads the file at path. Its error is a *Mistakes if the file could be
// read and is wrong.
func Load(path string) (*Mesh, error) {
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("mesh file: %w", err)
	}
	return parse(path, data)
}

// Parse reads a mesh file's content. Its error is a *Mistakes, all at once.
func Parse(data []byte) (*Mesh, error) { return parse("mesh file", data) }

// read returns a regular file's content: a pipe or a device might never end.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return data, err
}

func parse(file string, data []byte) (*Mesh, error) {
	r := reader{base: filepath.Dir(file)}
	var services []*service
	var identity *section
	if root := r.document(data); root != nil {
		services, identity = r.mesh(root)
	}
	if err := r.err(file); err != nil {
		return nil, err
	}
	m := newMesh(services)
	m.identity = identity
	return m, nil
}

// document returns the one value of the file, or nil. An empty file is a
// mistake, since it is what a reader sees of one that is just being written.
func (r *reader) document(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); err == io.EOF { //nolint:errorlint // the decoder's own, never wrapped
		r.failAt(1, "the file is empty; a mesh without services is written services: []")
		return nil
	} else if err != nil {
		r.syntax(err)
		return nil
	}
	if err := decoder.Decode(&more); err != io.EOF { //nolint:errorlint // the decoder's own, never wrapped
		r.failAt(max(more.Line, 1), "the file has more than one document")
		return nil
	}
	if len(doc.Content) != 1 {
		r.failAt(1, "the file has no content")
		return nil
	}
	before := len(r.mistakes)
	r.noAliases(doc.Content[0])
	if len(r.mistakes) > before {
		return nil
	}
	return doc.Content[0]
}

// syntax passes on what the YAML library says, which begins "yaml: line N: ".
func (r *reader) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if n, scanErr := fmt.Sscanf(text, "line %d: ", &line); n == 1 && scanErr == nil {
		_, text, _ = strings.Cut(text, ": ")
	}
	r.failAt(max(line, 1), "not YAML: %s", text)
}

func (r *reader) mesh(root *yaml.Node) (services []*service, identity *section) {
	r.fields(root, "the file", map[string]func(*yaml.Node){
		"services": func(n *yaml.Node) {
			r.each(n, "services", func(n *yaml.Node) { services = append(services, r.service(n)) })
		},
		"identity": func(n *yaml.Node) { identity = r.section(n) },
	}, "services")
	r.unique(services)
	return services, identity
}

func (r *reader) service(n *yaml.Node) *service {
	s := &service{line: n.Line}
	r.fields(n, "a service", map[string]func(*yaml.Node){
		"name":      func(n *yaml.Node) { s.name = r.name(n) },
		"port":      func(n *yaml.Node) { s.port = r.port(n) },
		"clusterIP": func(n *yaml.Node) { s.ownIP = r.ip(n) },
		"opaque":    func(n *yaml.Node) { s.opaque = r.boolean(n, "opaque") },
		"endpoints": func(n *yaml.Node) { s.endpoints = r.endpoints(n) },
		"profile":   func(n *yaml.Node) { s.profile = r.profile(n) },
	}, "name", "port")
	r.own(s)
	return s
}

func (r *reader) name(n *yaml.Node) string {
	text, ok := r.text(n, "name")
	if !ok {
		return ""
	}
	name, err := parseName(text)
	if err != nil {
		r.fail(n, "name %q: %v", text, err)
	}
	return name
}

func (r *reader) port(n *yaml.Node) uint16 {
	return uint16(r.number(n, "port", 1, math.MaxUint16))
}

func (r *reader) ip(n *yaml.Node) netip.Addr {
	text, ok := r.text(n, "clusterIP")
	if !ok {
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || !reachable(ip) {
		r.fail(n, "clusterIP %q is not an IP address of one host", text)
		return netip.Addr{}
	}
	return ip.Unmap()
}

// reachable reports whether the API can carry ip and a connection can be made to
// it.
func reachable(ip netip.Addr) bool {
	return ip.Zone() == "" && !ip.IsUnspecified() && !ip.IsMulticast()
}

// unique reports services that cannot be told apart.
func (r *reader) unique(services []*service) {
	hosts := make(map[host]*service)
	addresses := make(map[netip.AddrPort]*service)
	for _, s := range services {
		if first, taken := hosts[s.host]; taken && s.name != "" && s.port != 0 {
			r.failAt(s.line, "service %s is in line %d already", s.host, first.line)
			continue
		}
		hosts[s.host] = s
		if !s.ownIP.IsValid() || s.port == 0 {
			continue
		}
		at := netip.AddrPortFrom(s.ownIP, s.port)
		if first, taken := addresses[at]; taken {
			r.failAt(s.line, "clusterIP %s of service %s is that of service %s in line %d", at, s.host, first.host, first.line)
			continue
		}
		addresses[at] = s
	}
}
