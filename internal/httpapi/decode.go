package httpapi

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/internal/envelope"
)

// decodeOptions are strict on purpose: names are case-sensitive, given once and
// known, text is UTF-8, and nothing follows the request. Two readers of the same
// request must never disagree about what it says.
var decodeOptions = json.JoinOptions(
	json.RejectUnknownMembers(true),
	json.WithUnmarshalers(json.JoinUnmarshalers(
		json.UnmarshalFromFunc(decodeContext),
		json.UnmarshalFromFunc(decodeItems[cryptov1alpha1.EncryptItem]),
		json.UnmarshalFromFunc(decodeItems[cryptov1alpha1.DecryptItem]),
		json.UnmarshalFromFunc(decodeItems[cryptov1alpha1.DataKeyItem]),
		json.UnmarshalFromFunc(decodeItems[cryptov1alpha1.ReEncryptItem]),
	)),
)

var (
	errTooManyItems  = fmt.Errorf("a batch has at most %d items", cryptov1alpha1.MaxItems)
	errLargeContext  = fmt.Errorf("an encryption context has at most %d bytes, each key and value counting 4 more", envelope.MaxContextBytes)
	errContextValues = errors.New("an encryption context is an object of strings")
	errItemsArray    = errors.New("items is an array of objects")
)

// apiVersion is that of every request and answer.
var apiVersion = cryptov1alpha1.GroupVersion.String()

// decode reads the JSON of a request of the kind into v, whose TypeMeta is meta.
func decode(body []byte, v any, meta *metav1.TypeMeta, kind string) error {
	err := json.Unmarshal(body, v, decodeOptions)
	if err != nil {
		// The kind first: that some field is unknown is true of every request of
		// another kind, and no help.
		*meta = metav1.TypeMeta{}
		if json.Unmarshal(body, meta) != nil {
			return decodeError(err)
		}
	}
	switch {
	case meta.APIVersion != apiVersion:
		return malformed("apiVersion", fmt.Sprintf("apiVersion is %s, want %q", quote(meta.APIVersion), apiVersion))
	case meta.Kind != kind:
		return malformed("kind", fmt.Sprintf("kind is %s, want %q for this operation", quote(meta.Kind), kind))
	case err != nil:
		return decodeError(err)
	}
	return nil
}

// decodeContext reads an encryption context, at most as much of it as is allowed.
func decodeContext(d *jsontext.Decoder, context *map[string]string) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case 'n':
		*context = nil
		return nil
	case '{':
	default:
		return errContextValues
	}
	pairs := map[string]string{}
	for size := 0; d.PeekKind() != '}'; {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		key := token.String()
		if token, err = d.ReadToken(); err != nil {
			return err
		}
		if token.Kind() != '"' {
			return errContextValues
		}
		value := token.String()
		if size += 8 + len(key) + len(value); size > envelope.MaxContextBytes {
			return errLargeContext
		}
		pairs[key] = value
	}
	*context = pairs
	_, err = d.ReadToken()
	return err
}

// decodeItems reads a batch, at most as much of it as is allowed: an item takes
// more memory than text.
func decodeItems[T any](d *jsontext.Decoder, items *[]T) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case 'n':
		*items = nil
		return nil
	case '[':
	default:
		return errItemsArray
	}
	list := []T{}
	for d.PeekKind() != ']' {
		if len(list) == cryptov1alpha1.MaxItems {
			return errTooManyItems
		}
		if d.PeekKind() != '{' {
			return errItemsArray
		}
		var item T
		if err := json.UnmarshalDecode(d, &item); err != nil {
			return err
		}
		list = append(list, item)
	}
	*items = list
	_, err = d.ReadToken()
	return err
}

// decodeError says what is wrong and where, without the value: it may be a
// plaintext.
func decodeError(err error) error {
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.Is(err, errTooManyItems):
		return tooLarge("spec.items", errTooManyItems.Error())
	case errors.As(err, &syntactic):
		field := fieldPath(syntactic.JSONPointer)
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return malformed(field, "field "+field+" is given twice")
		}
		return malformed(field, fmt.Sprintf("the body is not valid JSON, at byte %d", syntactic.ByteOffset))
	case errors.As(err, &semantic):
		field := fieldPath(semantic.JSONPointer)
		switch {
		case errors.Is(err, errLargeContext):
			return tooLarge(contextPath(field), errLargeContext.Error())
		case errors.Is(err, errContextValues):
			return malformed(contextPath(field), errContextValues.Error())
		case errors.Is(err, errItemsArray):
			return malformed("spec.items", errItemsArray.Error())
		case errors.Is(err, json.ErrUnknownName):
			return malformed(field, "field "+field+" is not known; check its spelling and case")
		}
		return malformed(field, field+": "+expectation(semantic.GoType))
	}
	return malformed("", "the body is not a request")
}

// contextPath cuts what a decoder adds that has gone into the context.
func contextPath(field string) string {
	const name = "ncryptionContext"
	if i := strings.Index(field, name); i >= 0 {
		return field[:i+len(name)]
	}
	return field
}

// expectation says what should have been where something else is.
func expectation(t reflect.Type) string {
	if t == nil {
		return "the value has the wrong type"
	}
	switch t.Kind() {
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "want base64 with padding (RFC 4648 section 4)"
		}
		return "want an array"
	case reflect.String:
		return "want a string"
	case reflect.Bool:
		return "want true or false"
	case reflect.Int32, reflect.Pointer:
		return "want a whole number"
	default:
		return "want an object"
	}
}

// maxFieldPath bounds what is repeated of a name that the caller chose.
const maxFieldPath = 128

// fieldPath writes a JSON pointer as Kubernetes writes fields: spec.items[3].plaintext.
func fieldPath(pointer jsontext.Pointer) string {
	var b strings.Builder
	for token := range pointer.Tokens() {
		if _, err := strconv.ParseUint(token, 10, 31); err == nil && b.Len() > 0 {
			b.WriteString("[" + token + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(token)
	}
	path := b.String()
	if len(path) > maxFieldPath {
		path = strings.ToValidUTF8(path[:maxFieldPath], "") + "..."
	}
	return path
}

func quote(s string) string {
	if s == "" {
		return "missing"
	}
	if len(s) > maxFieldPath {
		s = s[:maxFieldPath] + "..."
	}
	return strconv.QuoteToGraphic(s)
}

// checkBatch says that a request has either items or the fields of one item.
func checkBatch(items int, given, single bool) error {
	switch {
	case given && single:
		return malformed("spec.items", "give either items or the fields of a single request, not both")
	case given && items == 0:
		return malformed("spec.items", fmt.Sprintf("a batch has from 1 to %d items", cryptov1alpha1.MaxItems))
	}
	return nil
}

// itemField is the path of a field of item i.
func itemField(batch bool, i int, field string) string {
	if !batch {
		return "spec." + field
	}
	return "spec.items[" + strconv.Itoa(i) + "]." + field
}

// checkCiphertext refuses what is longer than any ciphertext.
func checkCiphertext(ciphertext []byte, batch bool, i int) error {
	if len(ciphertext) > cryptov1alpha1.MaxCiphertextBytes {
		return tooLarge(itemField(batch, i, "ciphertext"), fmt.Sprintf(
			"ciphertext has %d bytes, at most %d are allowed", len(ciphertext), cryptov1alpha1.MaxCiphertextBytes))
	}
	return nil
}

// dataKeyBytes is the length of a data key. What is out of range is kms's to say.
func dataKeyBytes(item *cryptov1alpha1.DataKeyItem, batch bool, i int) (int, error) {
	if item.NumberOfBytes != nil {
		if item.KeySpec != "" {
			return 0, malformed(itemField(batch, i, "numberOfBytes"), "give either keySpec or numberOfBytes, not both")
		}
		return int(*item.NumberOfBytes), nil
	}
	switch item.KeySpec {
	case cryptov1alpha1.AES256DataKeySpec, "":
		return 32, nil
	case cryptov1alpha1.AES128DataKeySpec:
		return 16, nil
	}
	return 0, malformed(itemField(batch, i, "keySpec"), fmt.Sprintf("keySpec is %s, want %q or %q",
		quote(string(item.KeySpec)), cryptov1alpha1.AES256DataKeySpec, cryptov1alpha1.AES128DataKeySpec))
}
