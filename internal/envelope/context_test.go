package envelope

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

func canonical(t *testing.T, context map[string]string) []byte {
	t.Helper()
	encoded, err := appendContext(nil, context)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func TestEdge01(t *testing.T) {
	t.Run("different contexts differ", func(t *testing.T) {
		for name, pair := range map[string][2]map[string]string{
			"a border between key and value moves":   {{"a": "bc"}, {"ab": "c"}},
			"everything in the key or in the value":  {{"ab": ""}, {"": "ab"}},
			"key and value change places":            {{"a": "b"}, {"b": "a"}},
			"a pair more":                            {{"a": "b"}, {"a": "b", "": ""}},
			"one pair that looks like two":           {{"a": "b\x00\x00\x00\x01c\x00\x00\x00\x01d"}, {"a": "b", "c": "d"}},
			"values change places":                   {{"a": "1", "b": "2"}, {"a": "2", "b": "1"}},
			"case of a key":                          {{"Tenant": "a"}, {"tenant": "a"}},
			"case of a value":                        {{"tenant": "A"}, {"tenant": "a"}},
			"composed and decomposed (NFC, NFD) é":   {{"name": "caf\u00e9"}, {"name": "cafe\u0301"}},
			"compatibility forms (NFKC) of a letter": {{"name": "\ufb01"}, {"name": "fi"}},
			"white space at the end":                 {{"a": "b"}, {"a": "b "}},
			"a zero byte at the end":                 {{"a": "b"}, {"a": "b\x00"}},
			"an empty value and no pair":             {{"": ""}, nil},
		} {
			if bytes.Equal(canonical(t, pair[0]), canonical(t, pair[1])) {
				t.Errorf("%s: %q and %q have the same canonical form", name, pair[0], pair[1])
			}
		}
	})

	t.Run("no context and an empty one are the same", func(t *testing.T) {
		if none, empty := canonical(t, nil), canonical(t, map[string]string{}); len(none) != 0 || len(empty) != 0 {
			t.Errorf("canonical forms are %x and %x, want none", none, empty)
		}
	})

	t.Run("the form is the documented one", func(t *testing.T) {
		// Sorted by the bytes of the key: B is before a, and é (c3 a9) after z.
		got := hex.EncodeToString(canonical(t, map[string]string{"é": "", "a": "1", "z": "3", "B": "22", "aa": "x"}))
		want := "0000000142" + "000000023232" +
			"0000000161" + "0000000131" +
			"000000026161" + "0000000178" +
			"000000017a" + "0000000133" +
			"00000002c3a9" + "00000000"
		if got != want {
			t.Errorf("canonical form = %s, want %s", got, want)
		}
	})

	t.Run("the order of insertion and the number of pairs do not matter", func(t *testing.T) {
		// More pairs than the array on the stack holds.
		for pairs := range 20 {
			forward, backward := map[string]string{}, map[string]string{}
			for i := range pairs {
				forward[fmt.Sprint(i)] = fmt.Sprint(i * i)
				backward[fmt.Sprint(pairs-1-i)] = fmt.Sprint((pairs - 1 - i) * (pairs - 1 - i))
			}
			first := canonical(t, forward)
			for range 10 {
				if !bytes.Equal(first, canonical(t, backward)) {
					t.Fatalf("%d pairs have two canonical forms", pairs)
				}
			}
		}
	})
}

func TestContextLimits(t *testing.T) {
	const pair = 8 // two lengths
	many := map[string]string{}
	for i := range MaxContextBytes / 16 {
		many[fmt.Sprintf("%08d", i)] = ""
	}
	manyAndOne := maps.Clone(many)
	manyAndOne[""] = ""
	for name, row := range map[string]struct {
		context map[string]string
		want    error
	}{
		"exactly 8 KiB in a value":       {map[string]string{"k": strings.Repeat("v", MaxContextBytes-pair-1)}, nil},
		"one byte over in a value":       {map[string]string{"k": strings.Repeat("v", MaxContextBytes-pair)}, ErrContextTooLarge},
		"exactly 8 KiB in a key":         {map[string]string{strings.Repeat("k", MaxContextBytes-pair): ""}, nil},
		"one byte over in a key":         {map[string]string{strings.Repeat("k", MaxContextBytes-pair+1): ""}, ErrContextTooLarge},
		"exactly 8 KiB in many pairs":    {many, nil},
		"an empty pair over 8 KiB":       {manyAndOne, ErrContextTooLarge},
		"a key that is not UTF-8":        {map[string]string{"\xff": "v"}, ErrContextNotUTF8},
		"a value that is not UTF-8":      {map[string]string{"k": "v\xc3"}, ErrContextNotUTF8},
		"a lone surrogate":               {map[string]string{"k": "\xed\xa0\x80"}, ErrContextNotUTF8},
		"an overlong encoding":           {map[string]string{"k": "\xc0\xaf"}, ErrContextNotUTF8},
		"a replacement character is one": {map[string]string{"k": "\ufffd"}, nil},
		"a zero byte is UTF-8":           {map[string]string{"k": "\x00"}, nil},
		"too large and not UTF-8 is always the same": {
			map[string]string{"k": "\xff", "l": strings.Repeat("v", MaxContextBytes)}, ErrContextNotUTF8,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // the order of a map is random
				encoded, err := appendContext(nil, row.context)
				if !errors.Is(err, row.want) {
					t.Fatalf("the error is %v, want %v", err, row.want)
				}
				if len(encoded) > MaxContextBytes || (err != nil && encoded != nil) {
					t.Fatalf("%d bytes with error %v", len(encoded), err)
				}
			}
		})
	}
}

func TestAppendAADAppends(t *testing.T) {
	header := Header{Algorithm: AlgorithmXAES256GCM, KeyID: [16]byte{1, 2, 3}, Version: math.MaxUint32}
	context := map[string]string{"a": "b"}
	alone, err := AppendAAD(nil, header, context)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Concat([]byte("keywright/v1"), header.Append(nil), canonical(t, context))
	if !bytes.Equal(alone, want) {
		t.Errorf("AAD = %x, want %x", alone, want)
	}
	buffer := make([]byte, 0, 1<<10)
	after, err := AppendAAD(append(buffer, "prefix"...), header, context)
	if err != nil || string(after) != "prefix"+string(alone) {
		t.Errorf("AppendAAD disturbs dst: %q, %v", after, err)
	}
	if _, err := AppendAAD(nil, header, map[string]string{"a": "\xff"}); !errors.Is(err, ErrContextNotUTF8) {
		t.Errorf("the error is %v", err)
	}
}

// decodeContext is the canonical form backwards. That it exists, and gives back
// what went in, is what makes the form injective.
func decodeContext(b []byte) (map[string]string, error) {
	context := map[string]string{}
	last, first := "", true
	next := func() (string, error) {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			return "", errors.New("cut short")
		}
		n := 4 + int(binary.BigEndian.Uint32(b))
		s := string(b[4:n])
		b = b[n:]
		return s, nil
	}
	for len(b) > 0 {
		k, err := next()
		if err != nil {
			return nil, err
		}
		v, err := next()
		if err != nil {
			return nil, err
		}
		if !first && k <= last {
			return nil, errors.New("keys do not ascend")
		}
		context[k], last, first = v, k, false
	}
	return context, nil
}

// FuzzContext reads two maps out of the input and shows that they have the same
// canonical form only if they are equal, and that the form can be read back.
func FuzzContext(f *testing.F) {
	f.Add("a", "bc", "", "", "ab", "c", "", "")
	f.Add("", "", "a", "b", "a", "b", "", "")
	f.Add("a", "b\x00\x00\x00\x01c\x00\x00\x00\x01d", "x", "y", "a", "b", "c", "d")
	f.Add("k", "caf\u00e9", "K", "", "k", "cafe\u0301", "K", "")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, v3, k4, v4 string) {
		a, b := map[string]string{k1: v1, k2: v2}, map[string]string{k3: v3, k4: v4}
		encodedA, errA := appendContext(nil, a)
		encodedB, errB := appendContext(nil, b)
		if errA == nil {
			decoded, err := decodeContext(encodedA)
			if err != nil || !maps.Equal(decoded, a) {
				t.Fatalf("%q is read back as %q: %v", a, decoded, err)
			}
		}
		if errA == nil && errB == nil && bytes.Equal(encodedA, encodedB) != maps.Equal(a, b) {
			t.Fatalf("%q and %q: %x and %x", a, b, encodedA, encodedB)
		}
	})
}

func BenchmarkAppendAAD(b *testing.B) {
	header := Header{Algorithm: AlgorithmXAES256GCM, Version: 1}
	context := map[string]string{"tenant": "team-a", "table": "orders", "column": "card"}
	buffer := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AppendAAD(buffer, header, context); err != nil {
			b.Fatal(err)
		}
	}
}
