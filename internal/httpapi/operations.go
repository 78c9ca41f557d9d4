package httpapi

import (
	"context"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/kms"
)

// operation is an operation with a key as HTTP knows it.
type operation struct {
	// name is the last part of the path.
	name string
	// kind is the kind of the request and of the answer.
	kind string
	// decode reads a request of the kind.
	decode func(body []byte) (request, error)
}

// request is a decoded request.
type request interface {
	// do has kms do it.
	do(ctx context.Context, service *kms.Service, caller kms.Caller, key keyring.Name) ([]kms.Result, error)
	// batch says whether the answer has items.
	batch() bool
	// wipe clears the bytes that may be secret.
	wipe()
}

// operations are all operations with a key.
var operations = map[string]*operation{}

func init() {
	for _, o := range []*operation{
		{kms.OperationEncrypt, cryptov1alpha1.EncryptRequestKind, decodeEncrypt},
		{kms.OperationDecrypt, cryptov1alpha1.DecryptRequestKind, decodeDecrypt},
		{kms.OperationGenerateDataKey, cryptov1alpha1.DataKeyRequestKind, decodeDataKey},
		{kms.OperationReEncrypt, cryptov1alpha1.ReEncryptRequestKind, decodeReEncrypt},
	} {
		operations[o.name] = o
	}
}

// call is what all requests are: items for kms, one or many.
type call[T any] struct {
	items []T
	one   [1]T // is items of a single request, to spare it an allocation
	many  bool
}

func (c *call[T]) batch() bool { return c.many }

// prepare makes room for a batch of n items, or for the single one.
func (c *call[T]) prepare(n int, many bool) {
	c.many = many
	c.items = c.one[:]
	if many {
		c.items = make([]T, n)
	}
}

// at returns item i of a request: of its batch, or its single item.
func at[T any](single *T, items []T, i int) *T {
	if items != nil {
		return &items[i]
	}
	return single
}

type encryptCall struct{ call[kms.EncryptItem] }

func decodeEncrypt(body []byte) (request, error) {
	var r cryptov1alpha1.EncryptRequest
	if err := decode(body, &r, &r.TypeMeta, cryptov1alpha1.EncryptRequestKind); err != nil {
		return nil, err
	}
	single := &r.Spec.EncryptItem
	if err := checkBatch(len(r.Spec.Items), r.Spec.Items != nil, single.Plaintext != nil || single.EncryptionContext != nil); err != nil {
		return nil, err
	}
	c := &encryptCall{}
	c.prepare(len(r.Spec.Items), r.Spec.Items != nil)
	for i := range c.items {
		item := at(single, r.Spec.Items, i)
		c.items[i] = kms.EncryptItem{Plaintext: item.Plaintext, Context: item.EncryptionContext}
	}
	return c, nil
}

func (c *encryptCall) do(ctx context.Context, service *kms.Service, caller kms.Caller, key keyring.Name) ([]kms.Result, error) {
	return service.Encrypt(ctx, caller, key, c.items)
}

func (c *encryptCall) wipe() {
	for i := range c.items {
		clear(c.items[i].Plaintext)
	}
}

type decryptCall struct{ call[kms.DecryptItem] }

func decodeDecrypt(body []byte) (request, error) {
	var r cryptov1alpha1.DecryptRequest
	if err := decode(body, &r, &r.TypeMeta, cryptov1alpha1.DecryptRequestKind); err != nil {
		return nil, err
	}
	single := &r.Spec.DecryptItem
	if err := checkBatch(len(r.Spec.Items), r.Spec.Items != nil, single.Ciphertext != nil || single.EncryptionContext != nil); err != nil {
		return nil, err
	}
	c := &decryptCall{}
	c.prepare(len(r.Spec.Items), r.Spec.Items != nil)
	for i := range c.items {
		item := at(single, r.Spec.Items, i)
		if err := checkCiphertext(item.Ciphertext, c.many, i); err != nil {
			return nil, err
		}
		c.items[i] = kms.DecryptItem{Ciphertext: item.Ciphertext, Context: item.EncryptionContext}
	}
	return c, nil
}

func (c *decryptCall) do(ctx context.Context, service *kms.Service, caller kms.Caller, key keyring.Name) ([]kms.Result, error) {
	return service.Decrypt(ctx, caller, key, c.items)
}

func (c *decryptCall) wipe() {}

type dataKeyCall struct{ call[kms.DataKeyItem] }

func decodeDataKey(body []byte) (request, error) {
	var r cryptov1alpha1.DataKeyRequest
	if err := decode(body, &r, &r.TypeMeta, cryptov1alpha1.DataKeyRequestKind); err != nil {
		return nil, err
	}
	single := &r.Spec.DataKeyItem
	isSingle := single.KeySpec != "" || single.NumberOfBytes != nil || single.WithoutPlaintext || single.EncryptionContext != nil
	if err := checkBatch(len(r.Spec.Items), r.Spec.Items != nil, isSingle); err != nil {
		return nil, err
	}
	c := &dataKeyCall{}
	c.prepare(len(r.Spec.Items), r.Spec.Items != nil)
	for i := range c.items {
		item := at(single, r.Spec.Items, i)
		size, err := dataKeyBytes(item, c.many, i)
		if err != nil {
			return nil, err
		}
		c.items[i] = kms.DataKeyItem{Bytes: size, WithoutPlaintext: item.WithoutPlaintext, Context: item.EncryptionContext}
	}
	return c, nil
}

func (c *dataKeyCall) do(ctx context.Context, service *kms.Service, caller kms.Caller, key keyring.Name) ([]kms.Result, error) {
	return service.GenerateDataKey(ctx, caller, key, c.items)
}

func (c *dataKeyCall) wipe() {}

type reEncryptCall struct {
	call[kms.ReEncryptItem]
	destination *cryptov1alpha1.KeyReference
}

func decodeReEncrypt(body []byte) (request, error) {
	var r cryptov1alpha1.ReEncryptRequest
	if err := decode(body, &r, &r.TypeMeta, cryptov1alpha1.ReEncryptRequestKind); err != nil {
		return nil, err
	}
	single := &r.Spec.ReEncryptItem
	isSingle := single.Ciphertext != nil || single.SourceEncryptionContext != nil || single.DestinationEncryptionContext != nil
	if err := checkBatch(len(r.Spec.Items), r.Spec.Items != nil, isSingle); err != nil {
		return nil, err
	}
	if d := r.Spec.DestinationKey; d != nil {
		switch {
		case d.Name == "":
			return nil, malformed("spec.destinationKey.name", "spec.destinationKey.name is required; leave destinationKey out to stay with the key in the path")
		case !isName(d.Name, maxNameLength, true):
			return nil, malformed("spec.destinationKey.name", "spec.destinationKey.name is not the name of a key")
		case d.Namespace != "" && !isName(d.Namespace, maxNamespaceLength, false):
			return nil, malformed("spec.destinationKey.namespace", "spec.destinationKey.namespace is not the name of a namespace")
		}
	}
	c := &reEncryptCall{destination: r.Spec.DestinationKey}
	c.prepare(len(r.Spec.Items), r.Spec.Items != nil)
	for i := range c.items {
		item := at(single, r.Spec.Items, i)
		if err := checkCiphertext(item.Ciphertext, c.many, i); err != nil {
			return nil, err
		}
		c.items[i] = kms.ReEncryptItem{
			Ciphertext:         item.Ciphertext,
			SourceContext:      item.SourceEncryptionContext,
			DestinationContext: item.DestinationEncryptionContext,
		}
	}
	return c, nil
}

func (c *reEncryptCall) do(ctx context.Context, service *kms.Service, caller kms.Caller, key keyring.Name) ([]kms.Result, error) {
	destination := key
	if c.destination != nil {
		destination.Name = c.destination.Name
		if c.destination.Namespace != "" {
			destination.Namespace = c.destination.Namespace
		}
	}
	return service.ReEncrypt(ctx, caller, key, destination, c.items)
}

func (c *reEncryptCall) wipe() {}
