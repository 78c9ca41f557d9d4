package chart_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	root      = "../.."
	chart     = root + "/charts/keywright"
	namespace = "keywright-system"
)

// helm is the binary that HELM names, else the pinned one, built if need be.
var helm = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("HELM"); path != "" {
		return path, nil
	}
	command := exec.Command(root+"/hack/tools/build.sh", "helm") // shared by all tests, so no test's context fits
	command.Stderr = os.Stderr                                   // it says that it builds
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("build helm (set HELM to a helm 4 to do without): %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "helm"), nil
})

// template runs helm template with default values and args.
func template(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := helm()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	command := exec.CommandContext(t.Context(), path,
		append([]string{"template", "keywright", chart, "--namespace", namespace}, args...)...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		err = fmt.Errorf("helm template %v: %w: %s", args, err, stderr.String())
	}
	return string(out), err
}

// manifests are rendered objects.
type manifests []*unstructured.Unstructured

func render(t *testing.T, args ...string) manifests {
	t.Helper()
	text, err := template(t, args...)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return parse(t, []byte(text))
}

func parse(t *testing.T, text []byte) manifests {
	t.Helper()
	g := NewWithT(t)
	var out manifests
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		g.Expect(err).NotTo(HaveOccurred())
		var object map[string]any
		// Strict, because a key that is there twice is a template's mistake.
		g.Expect(yaml.UnmarshalStrict(document, &object)).To(Succeed(), "%s", document)
		if len(object) > 0 {
			out = append(out, &unstructured.Unstructured{Object: object})
		}
	}
}

// byKind returns the objects of a kind.
func (m manifests) byKind(kind string) manifests {
	var out manifests
	for _, object := range m {
		if object.GetKind() == kind {
			out = append(out, object)
		}
	}
	return out
}

func (m manifests) names() []string {
	var out []string
	for _, object := range m {
		out = append(out, object.GetName())
	}
	return out
}

// get returns the object of a kind and name, typed; unknown fields fail the test.
func get[T any](t *testing.T, m manifests, kind, name string) *T {
	t.Helper()
	for _, object := range m.byKind(kind) {
		if object.GetName() == name {
			return typed[T](t, object)
		}
	}
	t.Fatalf("no %s %s", kind, name)
	return nil
}

func typed[T any](t *testing.T, object *unstructured.Unstructured) *T {
	t.Helper()
	out := new(T)
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(normalize(object.Object), out, true)
	NewWithT(t).Expect(err).NotTo(HaveOccurred(), "%s %s", object.GetKind(), object.GetName())
	return out
}

// normalize turns the float64 of the YAML reader into int64, which the converter
// wants.
func normalize(object map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range object {
		out[key] = normalizeValue(value)
	}
	return out
}

func normalizeValue(value any) any {
	switch value := value.(type) {
	case float64:
		return int64(value)
	case map[string]any:
		return normalize(value)
	case []any:
		out := make([]any, len(value))
		for i := range value {
			out[i] = normalizeValue(value[i])
		}
		return out
	default:
		return value
	}
}

func deployments(t *testing.T, m manifests) []*appsv1.Deployment {
	t.Helper()
	var out []*appsv1.Deployment
	for _, object := range m.byKind("Deployment") {
		out = append(out, typed[appsv1.Deployment](t, object))
	}
	return out
}

// valueFiles are the names of the value files in ci/, and "" for the defaults.
func valueFiles(t *testing.T) []string {
	t.Helper()
	g := NewWithT(t)
	files, err := filepath.Glob(chart + "/ci/*.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(files).NotTo(BeEmpty())
	out := []string{""}
	for _, file := range files {
		out = append(out, filepath.Base(file))
	}
	return out
}

// forEachValueFile runs a subtest for the defaults and each file in ci/.
func forEachValueFile(t *testing.T, check func(*testing.T, manifests)) {
	t.Helper()
	for _, file := range valueFiles(t) {
		name, args := "default values", []string(nil)
		if file != "" {
			name, args = file, []string{"--values", filepath.Join(chart, "ci", file)}
		}
		t.Run(name, func(t *testing.T) { check(t, render(t, args...)) })
	}
}
