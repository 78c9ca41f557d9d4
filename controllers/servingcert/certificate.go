package servingcert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

const (
	caLifetime      = 10 * 365 * 24 * time.Hour
	caRenewBefore   = 365 * 24 * time.Hour
	certLifetime    = 90 * 24 * time.Hour
	certRenewBefore = 30 * 24 * time.Hour
	// backdate lets clients use a certificate whose clock is a little behind.
	backdate = time.Hour
)

// pair is a certificate with its key, in PEM.
type pair struct {
	certPEM []byte
	keyPEM  []byte
}

// newCA returns a self-signed certificate authority that may sign serving
// certificates and nothing else.
func newCA(now time.Time) (pair, error) {
	return issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "Keywright serving CA", SerialNumber: now.UTC().Format(time.RFC3339)},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}, nil)
}

// newServing returns a serving certificate for names, which are DNS names and IP
// addresses.
func newServing(ca pair, names []string, now time.Time) (pair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: names[0]},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(certLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return issue(template, &ca)
}

// issue signs template with ca, or with its own key if ca is nil.
func issue(template *x509.Certificate, ca *pair) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("generate key: %w", err)
	}
	// 127 random bits, as RFC 5280 §4.1.2.2 asks for a positive, unique number.
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return pair{}, fmt.Errorf("choose serial number: %w", err)
	}
	parent, signer := template, crypto.Signer(key)
	if ca != nil {
		if parent, signer, err = ca.parse(); err != nil {
			return pair{}, fmt.Errorf("read CA: %w", err)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return pair{}, fmt.Errorf("sign certificate: %w", err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return pair{}, fmt.Errorf("encode key: %w", err)
	}
	return pair{certPEM: pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: der}), keyPEM: keyPEM}, nil
}

func (p pair) parse() (*x509.Certificate, crypto.Signer, error) {
	loaded, err := tls.X509KeyPair(p.certPEM, p.keyPEM)
	if err != nil {
		return nil, nil, err
	}
	signer, ok := loaded.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, errors.New("the key cannot sign")
	}
	return loaded.Leaf, signer, nil
}

// caIsGood says that a CA need not be renewed.
func caIsGood(ca pair, now time.Time) bool {
	parsed, _, err := ca.parse()
	return err == nil && parsed.IsCA && now.Before(parsed.NotAfter.Add(-caRenewBefore))
}

// servingIsGood says that a serving certificate need not be renewed: it is
// signed by the CA, for all names, and good for long enough.
func servingIsGood(serving, ca pair, names []string, now time.Time) bool {
	parsed, _, err := serving.parse()
	authority, _, caErr := ca.parse()
	if err != nil || caErr != nil || parsed.CheckSignatureFrom(authority) != nil {
		return false
	}
	have := slices.Clone(parsed.DNSNames)
	for _, ip := range parsed.IPAddresses {
		have = append(have, ip.String())
	}
	slices.Sort(have)
	want := slices.Compact(slices.Sorted(slices.Values(names)))
	return slices.Equal(have, want) && now.Before(parsed.NotAfter.Add(-certRenewBefore))
}

// bundle puts the current CA before the earlier ones that have not expired, so
// that clients with the new bundle trust replicas that still serve the earlier
// certificate. Clients must read the bundle again when a CA is renewed, a year
// before it expires.
func bundle(current []byte, earlier []byte, now time.Time) []byte {
	certs, err := cert.ParseCertsPEM(append(slices.Clone(current), earlier...))
	if err != nil {
		return current
	}
	var out bytes.Buffer
	var seen []*x509.Certificate
	for _, c := range certs {
		if now.After(c.NotAfter) || slices.ContainsFunc(seen, c.Equal) {
			continue
		}
		seen = append(seen, c)
		_ = pem.Encode(&out, &pem.Block{Type: cert.CertificateBlockType, Bytes: c.Raw}) // a bytes.Buffer takes everything
	}
	return out.Bytes()
}
