package rig

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// install renders the chart and applies it.
func (r *Rig) install(ctx context.Context, ports []int) error {
	rendered, err := render(ctx, r.options.APIService)
	if err != nil {
		return err
	}
	if r.options.APIService {
		if rendered, err = toLoopback(rendered, serverPorts(r.options, ports)[endpointPort]); err != nil {
			return err
		}
	}
	path := filepath.Join(r.Dir, "chart.yaml")
	if err := os.WriteFile(path, []byte(rendered), 0o600); err != nil {
		return fmt.Errorf("write rendered chart: %w", err)
	}
	if err := r.Admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}); err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}
	if _, err := r.Kubectl(ctx, "apply", "--server-side", "--validate=strict", "-f", path); err != nil {
		return err
	}
	_, err = r.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s",
		"crd/encryptionkeys.keywright.dev", "crd/keystores.keywright.dev")
	return err
}

// render runs helm template. HELM names a helm; else it is the pinned one.
func render(ctx context.Context, apiService bool) (string, error) {
	helm := os.Getenv("HELM")
	if helm == "" {
		dir, err := output(ctx, root(), filepath.Join(root(), "hack/tools/build.sh"), "helm")
		if err != nil {
			return "", fmt.Errorf("build helm (set HELM to a helm 4 to do without): %w", err)
		}
		helm = filepath.Join(strings.TrimSpace(dir), "helm")
	}
	return output(ctx, root(), helm, "template", "keywright", "charts/keywright", "--namespace", Namespace,
		"--set", fmt.Sprintf("apiService.enabled=%t", apiService))
}

// toLoopback turns the Service into one that kube-apiserver follows to a port of
// this machine, because there is no cluster network.
func toLoopback(rendered string, port int) (string, error) {
	var out bytes.Buffer
	reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(rendered)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out.String(), nil
		}
		if err != nil {
			return "", fmt.Errorf("read rendered chart: %w", err)
		}
		var object unstructured.Unstructured
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			return "", fmt.Errorf("read rendered chart: %w", err)
		}
		switch {
		case object.GetKind() == "APIService":
			err = unstructured.SetNestedField(object.Object, int64(port), "spec", "service", "port")
		case object.GetKind() == "Service" && object.GetName() == "keywright":
			object.Object["spec"] = map[string]any{"type": "ExternalName", "externalName": "localhost"}
		}
		if err != nil {
			return "", fmt.Errorf("change %s: %w", object.GetKind(), err)
		}
		document, err = yaml.Marshal(object.Object)
		if err != nil {
			return "", fmt.Errorf("write %s: %w", object.GetKind(), err)
		}
		out.WriteString("---\n")
		out.Write(document)
	}
}
