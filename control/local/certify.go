package local

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	api "github.com/linkerd/linkerd2-proxy-api/go/identity"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// identities is the Identity service. It certifies whoever shows the token that the
// file of tokens has for the name that is asked for. Issuer and tokens are read
// anew each time, so that a change of their files is in effect at once.
type identities struct {
	api.UnimplementedIdentityServer
	s *Server
}

// Certify answers as Linkerd's identity controller does, with DER throughout,
// although the API's comments speak of PEM.
func (i identities) Certify(ctx context.Context, r *api.CertifyRequest) (*api.CertifyResponse, error) {
	section := i.s.state.Load().mesh.identity
	if section == nil {
		return nil, status.Error(codes.Unimplemented, "the mesh file has no identity")
	}
	answer, err := i.s.certify(section, r, time.Now())
	if err != nil {
		i.s.log.WarnContext(ctx, "an identity is not certified", "identity", r.GetIdentity(), "error", err)
		return nil, err
	}
	i.s.log.InfoContext(ctx, "an identity is certified", "identity", r.GetIdentity(), "until", answer.GetValidUntil().AsTime())
	return answer, nil
}

// certify checks the request before it looks at the token, in the controller's
// order.
func (s *Server) certify(section *section, r *api.CertifyRequest, now time.Time) (*api.CertifyResponse, error) {
	id, csr, err := request(r)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := checkRequest(csr, id); err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	known, err := loadTokens(section.tokens)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "tokens: %v", err)
	}
	if !known.prove(id, r.GetToken()) {
		return nil, status.Error(codes.FailedPrecondition, "authentication token could not be authenticated")
	}
	s.issuing.Lock() // one at a time, since the first may make the issuer
	issuer, err := section.open(now)
	s.issuing.Unlock()
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	der, until, err := issuer.issue(id, csr, section.lifetime, now)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	answer := &api.CertifyResponse{LeafCertificate: der, ValidUntil: timestamppb.New(until)}
	for _, c := range issuer.chain {
		answer.IntermediateCertificates = append(answer.IntermediateCertificates, c.Raw)
	}
	return answer, nil
}

// request reads what must be there and well formed.
func request(r *api.CertifyRequest) (identity, *x509.CertificateRequest, error) {
	switch {
	case r.GetIdentity() == "":
		return identity{}, nil, errors.New("missing identity")
	case len(r.GetToken()) == 0:
		return identity{}, nil, errors.New("missing token")
	case len(r.GetCertificateSigningRequest()) == 0:
		return identity{}, nil, errors.New("missing certificate signing request")
	}
	id, err := parseIdentity(r.GetIdentity())
	if err != nil {
		return identity{}, nil, fmt.Errorf("identity %q %w", r.GetIdentity(), err)
	}
	csr, err := x509.ParseCertificateRequest(r.GetCertificateSigningRequest())
	if err != nil {
		return identity{}, nil, fmt.Errorf("certificate signing request: %w", err)
	}
	return id, csr, nil
}

// checkRequest refuses a request that is for anybody but id, or by whoever does not
// have the key, or whose key is not one that the mesh's proxies take.
func checkRequest(csr *x509.CertificateRequest, id identity) error {
	if err := csr.CheckSignature(); err != nil {
		return fmt.Errorf("certificate signing request: %w", err)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return fmt.Errorf("a key of type %T is not certified: it must be one of ECDSA", csr.PublicKey)
	}
	if key.Curve == elliptic.P224() {
		return errors.New("a key on P-224 is not certified: it is too weak")
	}
	if cn := csr.Subject.CommonName; cn != "" && cn != id.text {
		return fmt.Errorf("certificate signing request is for the common name %q, not for %q", cn, id.text)
	}
	if names := namesIn(csr); len(names) != 1 || names[0] != id {
		return fmt.Errorf("certificate signing request is for %v, and not for %q alone", names, id.text)
	}
	return nil
}

// namesIn are all that csr asks to be certified as. An address or a mailbox is
// never anybody's identity, and so spoils it.
func namesIn(csr *x509.CertificateRequest) []identity {
	var all []identity
	for _, n := range csr.DNSNames {
		all = append(all, identity{text: n})
	}
	for _, u := range csr.URIs {
		all = append(all, identity{u.String(), true})
	}
	for _, ip := range csr.IPAddresses {
		all = append(all, identity{text: ip.String()})
	}
	for _, m := range csr.EmailAddresses {
		all = append(all, identity{text: m})
	}
	return all
}

// prove reports whether shown is id's token, in a time that says nothing of it. A
// file from which a token was read often ends in a newline.
func (t tokens) prove(id identity, shown []byte) bool {
	token, known := t[id.text]
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256(bytes.TrimSpace(shown))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && known
}
