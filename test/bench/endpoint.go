package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/test/rig"
)

// cell is one combination that is measured, on every target.
type cell struct {
	protocol  string
	operation string
	workers   int
	size      int // of a plaintext
	items     int // in a batch; 0 is a single request
}

func (c cell) count() int { return max(c.items, 1) }

// result is a cell with what each target did, by its name.
type result struct {
	cell
	by map[string]*measurement
}

// perItem is the rate of items, and the processor time of one.
func (r *result) perItem(target string) (rate float64, cpu time.Duration) {
	m := r.by[target]
	return m.rate() * float64(r.count()), m.cpuPerRequest() / time.Duration(r.count())
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: cryptov1alpha1.GroupVersion.String(), Kind: kind}
}

func pathOf(operation string) string { return pathOfKey(benchKey, operation) }

func pathOfKey(key, operation string) string {
	return rig.Path(types.NamespacedName{Namespace: benchNamespace, Name: key}, operation)
}

// bodyFor makes the request of a cell for a target. To decrypt, the target is asked
// for a ciphertext first, and must open it again.
func bodyFor(ctx context.Context, t *target, c cell) ([]byte, error) {
	encryptionContext := map[string]string{"tenant": "team-a", "table": "orders"}
	plaintext := make([]byte, c.size)
	for i := range plaintext {
		plaintext[i] = byte(i)
	}
	item := cryptov1alpha1.EncryptItem{Plaintext: plaintext, EncryptionContext: encryptionContext}
	encrypt := &cryptov1alpha1.EncryptRequest{TypeMeta: typeMeta(cryptov1alpha1.EncryptRequestKind)}
	switch {
	case c.operation == "generatedatakey":
		request := &cryptov1alpha1.DataKeyRequest{TypeMeta: typeMeta(cryptov1alpha1.DataKeyRequestKind)}
		request.Spec.EncryptionContext = encryptionContext
		return json.Marshal(request)
	case c.items > 0:
		for range c.items {
			encrypt.Spec.Items = append(encrypt.Spec.Items, item)
		}
	default:
		encrypt.Spec.EncryptItem = item
	}
	body, err := json.Marshal(encrypt)
	if err != nil || c.operation == "encrypt" {
		return body, err
	}
	var sealed cryptov1alpha1.EncryptRequest
	if err := once(ctx, t, "encrypt", body, &sealed); err != nil {
		return nil, err
	}
	decrypt := &cryptov1alpha1.DecryptRequest{TypeMeta: typeMeta(cryptov1alpha1.DecryptRequestKind)}
	decrypt.Spec.DecryptItem = cryptov1alpha1.DecryptItem{Ciphertext: sealed.Status.Ciphertext, EncryptionContext: encryptionContext}
	if body, err = json.Marshal(decrypt); err != nil {
		return nil, err
	}
	var opened cryptov1alpha1.DecryptRequest
	if err := once(ctx, t, "decrypt", body, &opened); err != nil {
		return nil, err
	}
	if string(opened.Status.Plaintext) != string(plaintext) {
		return nil, fmt.Errorf("%s did not give back what it encrypted", t.name)
	}
	return body, nil
}

// once makes one request and decodes the answer.
func once(ctx context.Context, t *target, operation string, body []byte, answer any) error {
	exchangers, err := dial(ctx, t, http1, 1)
	if err != nil {
		return err
	}
	defer exchangers[0].close()
	out, err := exchangers[0].exchange(pathOf(operation), body)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, answer)
}

// measure measures a cell on the targets, in rounds, one after the other.
func measure(ctx context.Context, targets []*target, c cell, duration time.Duration, rounds int) (*result, error) {
	r := &result{cell: c, by: map[string]*measurement{}}
	bodies := map[string][]byte{}
	for _, t := range targets {
		body, err := bodyFor(ctx, t, c)
		if err != nil {
			return nil, fmt.Errorf("make a request to %s: %w", t.name, err)
		}
		bodies[t.name], r.by[t.name] = body, &measurement{}
	}
	for range rounds {
		for _, t := range targets {
			if err := r.by[t.name].slice(ctx, t, c.protocol, c.workers, duration/time.Duration(rounds), pathOf(c.operation), bodies[t.name]); err != nil {
				return nil, err
			}
		}
	}
	var line strings.Builder
	for _, t := range targets {
		fmt.Fprintf(&line, "  %s %.0f/s %s µs", t.name, r.by[t.name].rate(), micros(r.by[t.name].cpuPerRequest()))
	}
	progress("%s %s, %d at once, %d B, %d items:%s", c.protocol, c.operation, c.workers, c.size, c.count(), line.String())
	return r, nil
}

// endpointResults is everything that is measured of the endpoint.
type endpointResults struct {
	main  []*result // echo, gcm, keywright
	batch []*result // the same targets; single and batch, in turns
	audit []*result // keywright with and without audit
}

// measureEndpoint runs the three parts.
func measureEndpoint(ctx context.Context, o *options, baselines []*target, audited, unaudited *target) (*endpointResults, error) {
	out := &endpointResults{}
	with := append(append([]*target{}, baselines...), audited)
	run := func(into *[]*result, targets []*target, c cell) error {
		r, err := measure(ctx, targets, c, o.duration, o.rounds)
		if err == nil {
			*into = append(*into, r)
		}
		return err
	}
	var cells []func() error
	add := func(into *[]*result, targets []*target, c cell) {
		part := map[*[]*result]string{&out.main: endpointPart, &out.batch: batchPart, &out.audit: auditPart}[into]
		if o.parts[part] {
			cells = append(cells, func() error { return run(into, targets, c) })
		}
	}
	for _, protocol := range o.protocols {
		for _, operation := range []string{"encrypt", "decrypt", "generatedatakey"} {
			for _, size := range sizes {
				if operation == "generatedatakey" && size != 32 {
					continue // a data key has 32 bytes, whatever it is to protect
				}
				for _, workers := range concurrency {
					add(&out.main, with, cell{protocol: protocol, operation: operation, workers: workers, size: size})
				}
			}
		}
	}
	for _, items := range []int{0, batchItems} {
		add(&out.batch, with, cell{protocol: o.protocols[0], operation: "encrypt", workers: 16, size: 32, items: items})
	}
	for _, size := range sizes {
		for _, workers := range concurrency {
			add(&out.audit, []*target{unaudited, audited}, cell{protocol: o.protocols[0], operation: "encrypt", workers: workers, size: size})
		}
	}
	for _, cell := range cells {
		if err := cell(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// What is measured.
var (
	concurrency = []int{1, 16, 64}
	sizes       = []int{32, 4096}
)

// batchItems is how many items a batch has here.
const batchItems = 100
