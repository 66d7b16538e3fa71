package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/outrigger-mesh/outrigger/control/local"
)

// clientName is the client's name, and workloadName that of workload n.
const clientName = "client"

func workloadName(n int) string { return fmt.Sprintf("workload-%d", n) }

// idOf is the identity of whoever is called name, in the form that it has in
// Kubernetes.
func idOf(name string) string { return name + idSuffix }

const idSuffix = ".demo.serviceaccount.identity.linkerd.cluster.local"

// identitySection is that of the mesh file, beside which these are.
const identitySection = `identity: # trust anchor and issuer are made at the start
  directory: identity
  tokens: tokens.yaml
`

// identities are what each sidecar needs to prove who it is: the trust anchors, and
// in dir a token of its own.
type identities struct{ dir, anchors string }

// newIdentities gives everyone a token, and has the trust anchors of the mesh file
// made. The mesh file is in dir.
func newIdentities(dir, meshFile string) (identities, error) {
	ids := identities{dir: dir}
	if err := ids.writeTokens(); err != nil {
		return ids, fmt.Errorf("tokens: %w", err)
	}
	mesh, err := local.Load(meshFile)
	if err != nil {
		return ids, err
	}
	anchors, err := mesh.Anchors()
	ids.anchors = string(anchors)
	return ids, err
}

// writeTokens writes a token for each sidecar, and for the control plane who has
// which.
func (ids identities) writeTokens() error {
	names := []string{clientName}
	for n := range workloads {
		names = append(names, workloadName(n+1))
	}
	var all strings.Builder
	for _, name := range names {
		token := rand.Text()
		fmt.Fprintf(&all, "%s: %s\n", idOf(name), token)
		if err := os.MkdirAll(ids.keys(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(ids.token(name), []byte(token), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(ids.dir, "tokens.yaml"), []byte(all.String()), 0o600)
}

// keys is where name's sidecar looks for a key, which it makes in memory as there is
// none, and token the file of its token.
func (ids identities) keys(name string) string  { return filepath.Join(ids.dir, name) }
func (ids identities) token(name string) string { return filepath.Join(ids.keys(name), "token") }

// env has name's sidecar certified by the control plane.
func (ids identities) env(name, control string) []string {
	return []string{
		"LINKERD2_PROXY_IDENTITY_SVC_ADDR=" + control,
		"LINKERD2_PROXY_IDENTITY_LOCAL_NAME=" + idOf(name),
		"LINKERD2_PROXY_IDENTITY_TOKEN_FILE=" + ids.token(name),
		"LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS=" + ids.anchors,
		"LINKERD2_PROXY_IDENTITY_DIR=" + ids.keys(name),
	}
}
