package main

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
)

// Names of the baselines, and the hidden flag that makes this binary one.
const (
	echoBaseline = "echo"
	gcmBaseline  = "gcm"
	baselineFlag = "-baseline"
)

// announcement is the only line that a baseline prints.
type announcement struct {
	Address string `json:"address"`
	CA      []byte `json:"ca"`
}

// startBaseline runs this binary again. The process ends when stop is called, and
// when we end: its standard input is then closed.
func startBaseline(name string) (_ *target, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(self, baselineFlag, name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start baseline %s: %w", name, err)
	}
	stop = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	var a announcement
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	roots := x509.NewCertPool()
	if err == nil && !roots.AppendCertsFromPEM(a.CA) {
		err = errors.New("no certificate")
	}
	if err != nil {
		stop()
		return nil, nil, fmt.Errorf("baseline %s: %w", name, err)
	}
	// A token of usual length, so that the requests are as long as Keywright's.
	return &target{name: name, address: a.Address, roots: roots, token: strings.Repeat("t", 900), pid: cmd.Process.Pid}, stop, nil
}

// runBaseline is the child process. It serves until standard input ends.
func runBaseline(ctx context.Context, name string) error {
	var aead cipher.AEAD
	switch name {
	case echoBaseline:
	case gcmBaseline:
		block, err := aes.NewCipher(make([]byte, 32))
		if err != nil {
			return err
		}
		if aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return err
		}
	default:
		return fmt.Errorf("no baseline %q", name)
	}
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	server := &http.Server{
		Handler:           &baseline{aead: aead},
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}},
		Protocols:         protocols,
		ReadHeaderTimeout: 5 * time.Second,
	}
	if err := json.NewEncoder(os.Stdout).Encode(announcement{
		Address: listener.Addr().String(),
		CA:      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
	}); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// selfSigned is a certificate of the kind that Keywright makes for itself.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"localhost"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// baseline answers in the shape of Keywright's answers, without a key, a caller or
// a trace. With an AEAD it seals and opens; without, it gives back what it got.
type baseline struct {
	aead cipher.AEAD
}

const (
	baselineKeyID   = "00000000-0000-4000-8000-000000000000"
	baselineVersion = 1
)

// ServeHTTP implements http.Handler.
func (b *baseline) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := b.answer(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	_, _ = w.Write(answer)
}

func (b *baseline) answer(r *http.Request) ([]byte, error) {
	body := make([]byte, max(r.ContentLength, 0))
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return nil, err
	}
	switch operation := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]; operation {
	case "encrypt":
		var v cryptov1alpha1.EncryptRequest
		if err := jsonv2.Unmarshal(body, &v); err != nil {
			return nil, err
		}
		v.Status = &cryptov1alpha1.EncryptStatus{}
		if v.Spec.Items == nil {
			v.Status.EncryptResult = b.encrypt(v.Spec.EncryptItem)
		}
		for _, item := range v.Spec.Items {
			v.Status.Items = append(v.Status.Items, b.encrypt(item))
		}
		v.Spec = cryptov1alpha1.EncryptSpec{}
		return jsonv2.Marshal(&v)
	case "decrypt":
		var v cryptov1alpha1.DecryptRequest
		if err := jsonv2.Unmarshal(body, &v); err != nil {
			return nil, err
		}
		plaintext, err := b.open(v.Spec.Ciphertext)
		if err != nil {
			return nil, err
		}
		v.Status = &cryptov1alpha1.DecryptStatus{DecryptResult: cryptov1alpha1.DecryptResult{
			Plaintext: plaintext, KeyID: baselineKeyID, KeyVersion: baselineVersion,
		}}
		v.Spec = cryptov1alpha1.DecryptSpec{}
		return jsonv2.Marshal(&v)
	case "generatedatakey":
		var v cryptov1alpha1.DataKeyRequest
		if err := jsonv2.Unmarshal(body, &v); err != nil {
			return nil, err
		}
		key := make([]byte, 32)
		if b.aead != nil {
			_, _ = rand.Read(key) // never fails
		}
		v.Status = &cryptov1alpha1.DataKeyStatus{DataKeyResult: cryptov1alpha1.DataKeyResult{
			Plaintext: key, Ciphertext: b.seal(key), KeyID: baselineKeyID, KeyVersion: baselineVersion,
		}}
		return jsonv2.Marshal(&v)
	default:
		return nil, fmt.Errorf("no operation %q", operation)
	}
}

func (b *baseline) encrypt(item cryptov1alpha1.EncryptItem) cryptov1alpha1.EncryptResult {
	return cryptov1alpha1.EncryptResult{Ciphertext: b.seal(item.Plaintext), KeyID: baselineKeyID, KeyVersion: baselineVersion}
}

func (b *baseline) seal(plaintext []byte) []byte {
	if b.aead == nil {
		return plaintext
	}
	return b.aead.Seal(nil, nil, plaintext, nil)
}

func (b *baseline) open(ciphertext []byte) ([]byte, error) {
	if b.aead == nil {
		return ciphertext, nil
	}
	return b.aead.Open(nil, nil, ciphertext, nil)
}
