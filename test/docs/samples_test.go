package docs_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/keywright/keywright/test/rig"
)

// sample is an object that people are told to apply.
type sample struct {
	where  string
	object *unstructured.Unstructured
}

// samples returns the objects in the YAML blocks of all pages and in config/samples.
// Other YAML, such as a file for Prometheus, has no kind.
func samples(t *testing.T) []sample {
	t.Helper()
	var found []sample
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			if b.info == "yaml" {
				found = append(found, documents(t, fmt.Sprintf("%s:%d", page, b.line), b.text)...)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(root, "config/samples/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, documents(t, file, string(content))...)
	}
	return found
}

func documents(t *testing.T, where, text string) []sample {
	t.Helper()
	var found []sample
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return found
		}
		object := &unstructured.Unstructured{}
		if err == nil {
			err = yaml.Unmarshal(document, &object.Object)
		}
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if object.GetKind() != "" {
			found = append(found, sample{where, object})
		}
	}
}

func testSamples(t *testing.T, r *rig.Rig) {
	all := samples(t)
	if len(all) < 6 {
		t.Fatalf("found %d samples only", len(all))
	}
	for _, s := range all {
		t.Run(fmt.Sprintf("%s %s", s.object.GetKind(), s.object.GetName()), func(t *testing.T) {
			if namespace := s.object.GetNamespace(); namespace != "" {
				if err := r.Namespace(t.Context(), namespace); err != nil {
					t.Fatal(err)
				}
			}
			if s.object.GetKind() == "Pod" {
				// Admission asks for it, and the page makes it in a step before.
				account, _, _ := unstructured.NestedString(s.object.Object, "spec", "serviceAccountName")
				if _, err := r.Workload(t.Context(), s.object.GetNamespace(), account); err != nil {
					t.Fatal(err)
				}
			}
			err := r.Admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(s.object),
				client.DryRunAll, client.FieldOwner("docs"), client.ForceOwnership)
			if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
				t.Errorf("%s: %s", s.where, status.ErrStatus.Message)
			} else if err != nil {
				t.Errorf("%s: %v", s.where, err)
			}
		})
	}
}
