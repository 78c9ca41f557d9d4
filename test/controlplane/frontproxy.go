package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// frontProxyName is the only common name whose X-Remote-* headers an extension API
// server may believe.
const frontProxyName = "front-proxy-client"

// frontProxy holds the paths of the identity that the API server shows to
// extension API servers.
type frontProxy struct{ ca, cert, key string }

// writeFrontProxy makes a CA of its own for it. Sharing the CA of client
// certificates would let every client impersonate anybody at an extension server.
func writeFrontProxy(dir string) (frontProxy, error) {
	out := frontProxy{
		ca:   filepath.Join(dir, "front-proxy-ca.crt"),
		cert: filepath.Join(dir, "front-proxy-client.crt"),
		key:  filepath.Join(dir, "front-proxy-client.key"),
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return out, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return out, err
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "front-proxy-ca"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(7 * 24 * time.Hour), // as long as envtest's own
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: frontProxyName},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return out, fmt.Errorf("sign front-proxy CA: %w", err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return out, fmt.Errorf("sign front-proxy client certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return out, fmt.Errorf("encode front-proxy key: %w", err)
	}
	for _, file := range []struct {
		path, block string
		der         []byte
	}{
		{out.ca, "CERTIFICATE", caDER},
		{out.cert, "CERTIFICATE", leafDER},
		{out.key, "PRIVATE KEY", keyDER},
	} {
		block := pem.EncodeToMemory(&pem.Block{Type: file.block, Bytes: file.der})
		if err := os.WriteFile(file.path, block, 0o600); err != nil {
			return out, fmt.Errorf("write front-proxy identity: %w", err)
		}
	}
	return out, nil
}
