package local

import (
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A section is the "identity" of a mesh file: by what the Identity service
// certifies, and whom.
type section struct {
	domain   string // that a trust anchor and an issuer that are made are named for
	files    files
	made     bool // whether the files are made if there are none
	tokens   string
	lifetime time.Duration
}

// The bounds on a certificate's lifetime. X.509 counts in seconds.
const (
	defaultDomain   = "cluster.local"
	defaultLifetime = 24 * time.Hour
	minLifetime     = time.Second
	maxLifetime     = 10 * 365 * 24 * time.Hour
)

func (r *reader) section(n *yaml.Node) *section {
	s := &section{domain: defaultDomain, lifetime: defaultLifetime}
	directory := ""
	path := func(what string, into *string) func(*yaml.Node) {
		return func(n *yaml.Node) { *into = r.path(n, what) }
	}
	r.fields(n, "identity", map[string]func(*yaml.Node){
		"trustDomain": func(n *yaml.Node) { s.domain = r.name(n) },
		"directory":   path("directory", &directory),
		"anchors":     path("anchors", &s.files.anchors),
		"issuer":      path("issuer", &s.files.issuer),
		"issuerKey":   path("issuerKey", &s.files.issuerKey),
		"tokens":      path("tokens", &s.tokens),
		"lifetime":    func(n *yaml.Node) { s.lifetime = r.lifetime(n) },
	}, "tokens")
	given := 0
	for _, f := range []string{s.files.anchors, s.files.issuer, s.files.issuerKey} {
		if f != "" {
			given++
		}
	}
	switch {
	case given == 0 && directory != "":
		s.files, s.made = filesIn(directory), true
	case given != 3 || directory != "": //nolint:mnd // all of the above
		r.fail(n, "identity has either a directory, or all of anchors, issuer and issuerKey")
	}
	return s
}

// path reads a path. One that is not absolute begins where the file is.
func (r *reader) path(n *yaml.Node, what string) string {
	text, ok := r.text(n, what)
	switch {
	case !ok:
		return ""
	case text == "":
		r.fail(n, "%s is empty", what)
		return ""
	case filepath.IsAbs(text):
		return text
	default:
		return filepath.Join(r.base, text)
	}
}

func (r *reader) lifetime(n *yaml.Node) time.Duration {
	text, ok := r.text(n, "lifetime")
	if !ok {
		return defaultLifetime
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < minLifetime || d > maxLifetime {
		r.fail(n, "lifetime %q is not a duration from 1s to 87600h", text)
		return defaultLifetime
	}
	return d
}

// An identity is whom a certificate is for: a DNS name, or a URI.
type identity struct {
	text  string // "" if there is none
	isURI bool
}

func (i identity) String() string { return i.text }

func (i identity) uri() (*url.URL, error) { return url.Parse(i.text) }

var errIdentity = errors.New("is neither a DNS name nor an absolute URI such as spiffe://DOMAIN/PATH")

// parseIdentity reads an identity as Linkerd does: first as a DNS name, which a
// final dot would make another, then as a URI.
func parseIdentity(s string) (identity, error) {
	if name, err := parseName(s); err == nil && !strings.HasSuffix(s, ".") {
		return identity{text: name}, nil
	}
	u, err := url.Parse(s)
	if err != nil || !u.IsAbs() || u.Host == "" || u.Fragment != "" || u.String() != s {
		return identity{}, errIdentity
	}
	return identity{s, true}, nil
}

func (r *reader) identity(n *yaml.Node) identity {
	text, ok := r.text(n, "identity")
	if !ok {
		return identity{}
	}
	id, err := parseIdentity(text)
	if err != nil {
		r.fail(n, "identity %q %v", text, err)
	}
	return id
}

// A tokens is what each identity proves itself by, to be certified.
type tokens map[string]string

// loadTokens reads the file of tokens: a mapping of names to tokens.
func loadTokens(path string) (tokens, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	r := reader{}
	all := make(tokens)
	if root := r.document(data); root != nil {
		r.tokens(root, all)
	}
	return all, r.err(path)
}

func (r *reader) tokens(root *yaml.Node, all tokens) {
	if root.Kind != yaml.MappingNode {
		r.fail(root, "the file is %s, not a mapping of identities to tokens", kind(root))
		return
	}
	of := make(map[string]string)
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		id := r.identity(key)
		token, ok := r.text(value, "token")
		switch owner, shared := of[token]; {
		case !ok || id.text == "":
		case strings.TrimSpace(token) == "":
			r.fail(value, "the token of %s is empty", id.text)
		case all[id.text] != "":
			r.fail(key, "identity %s is there twice", id.text)
		case shared:
			r.fail(value, "the token of %s is that of %s", id.text, owner)
		}
		all[id.text], of[token] = token, id.text
	}
}
