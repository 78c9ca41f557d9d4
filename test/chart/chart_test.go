package chart_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/utils/ptr"
)

// TestPodsAreRestricted checks what Pod Security asks for at level restricted, and
// the read-only file system that it does not ask for. TestOnAPIServer lets the
// API server judge.
func TestPodsAreRestricted(t *testing.T) {
	forEachValueFile(t, func(t *testing.T, m manifests) {
		g := NewWithT(t)
		g.Expect(m.byKind("Deployment").names()).To(ConsistOf("keywright-controller", "keywright-server"))
		for _, deployment := range deployments(t, m) {
			pod := deployment.Spec.Template.Spec
			g.Expect(pod.HostNetwork || pod.HostPID || pod.HostIPC).To(BeFalse())
			g.Expect(pod.SecurityContext.RunAsNonRoot).To(HaveValue(BeTrue()))
			g.Expect(pod.SecurityContext.RunAsUser).To(HaveValue(BeEquivalentTo(65532)))
			g.Expect(pod.SecurityContext.SeccompProfile.Type).To(Equal(corev1.SeccompProfileTypeRuntimeDefault))
			g.Expect(pod.InitContainers).To(BeEmpty())
			for _, container := range pod.Containers {
				context := container.SecurityContext
				g.Expect(context.AllowPrivilegeEscalation).To(HaveValue(BeFalse()))
				g.Expect(context.ReadOnlyRootFilesystem).To(HaveValue(BeTrue()))
				g.Expect(context.Privileged).To(BeNil())
				g.Expect(context.Capabilities.Drop).To(ConsistOf(corev1.Capability("ALL")))
				g.Expect(context.Capabilities.Add).To(BeEmpty())
				for _, port := range container.Ports {
					g.Expect(port.HostPort).To(BeZero())
				}
				g.Expect(container.LivenessProbe.HTTPGet.Path).To(Equal("/livez"))
				g.Expect(container.ReadinessProbe.HTTPGet.Path).To(Equal("/readyz"))
			}
			for _, volume := range pod.Volumes {
				g.Expect(volume.HostPath).To(BeNil())
			}
		}
	})
}

func TestServiceAccountsHandOutNoTokenByThemselves(t *testing.T) {
	g := NewWithT(t)
	accounts := render(t).byKind("ServiceAccount")
	g.Expect(accounts.names()).To(ConsistOf("keywright-controller", "keywright-server"))
	for _, object := range accounts {
		g.Expect(typed[corev1.ServiceAccount](t, object).AutomountServiceAccountToken).To(HaveValue(BeFalse()))
	}
}

// TestGraceIsLongEnough: SIGKILL must come after the delay and the requests in
// flight.
func TestGraceIsLongEnough(t *testing.T) {
	forEachValueFile(t, func(t *testing.T, m manifests) {
		g := NewWithT(t)
		server := get[appsv1.Deployment](t, m, "Deployment", "keywright-server").Spec.Template.Spec
		delay := flagValue(g, server.Containers[0], "--shutdown-delay")
		seconds := map[string]int64{"5s": 5, "15s": 15}[delay]
		g.Expect(seconds).NotTo(BeZero(), "unexpected --shutdown-delay=%s", delay)
		g.Expect(ptr.Deref(server.TerminationGracePeriodSeconds, 30)).To(BeNumerically(">=", seconds+30))
	})
}

func TestMemoryLimitReachesTheRuntime(t *testing.T) {
	forEachValueFile(t, func(t *testing.T, m manifests) {
		g := NewWithT(t)
		for _, deployment := range deployments(t, m) {
			container := deployment.Spec.Template.Spec.Containers[0]
			var ref *corev1.ResourceFieldSelector
			for _, variable := range container.Env {
				if variable.Name == "GOMEMLIMIT" {
					ref = variable.ValueFrom.ResourceFieldRef
				}
			}
			if container.Resources.Limits.Memory().IsZero() {
				// It would be the memory of the node.
				g.Expect(ref).To(BeNil(), deployment.Name)
			} else {
				g.Expect(ref).To(HaveValue(Equal(corev1.ResourceFieldSelector{ContainerName: container.Name, Resource: "limits.memory"})))
			}
		}
	})
}

func TestSelectorsFindThePods(t *testing.T) {
	forEachValueFile(t, func(t *testing.T, m manifests) {
		g := NewWithT(t)
		for _, deployment := range deployments(t, m) {
			labels := deployment.Spec.Template.Labels
			for key, value := range deployment.Spec.Selector.MatchLabels {
				g.Expect(labels).To(HaveKeyWithValue(key, value))
			}
			for _, constraint := range deployment.Spec.Template.Spec.TopologySpreadConstraints {
				g.Expect(constraint.LabelSelector).To(Equal(deployment.Spec.Selector))
			}
			g.Expect(deployment.Spec.Template.Spec.TopologySpreadConstraints).NotTo(BeEmpty())
		}
		server := get[appsv1.Deployment](t, m, "Deployment", "keywright-server")
		service := get[corev1.Service](t, m, "Service", "keywright")
		g.Expect(service.Spec.Selector).To(Equal(server.Spec.Selector.MatchLabels))
		g.Expect(service.Spec.Ports).To(HaveLen(1))
		g.Expect(service.Spec.Ports[0].Port).To(BeEquivalentTo(443))
	})
}

func TestOptions(t *testing.T) {
	t.Run("the autoscaler owns the number of servers", func(t *testing.T) {
		g := NewWithT(t)
		m := render(t)
		g.Expect(get[appsv1.Deployment](t, m, "Deployment", "keywright-server").Spec.Replicas).To(BeNil())
		hpa := get[autoscalingv2.HorizontalPodAutoscaler](t, m, "HorizontalPodAutoscaler", "keywright-server")
		g.Expect(hpa.Spec.MinReplicas).To(HaveValue(BeEquivalentTo(2)))
		g.Expect(m.byKind("PodDisruptionBudget").names()).To(ConsistOf("keywright-controller", "keywright-server"))
	})
	t.Run("a single replica has no disruption budget, which would nail it to its node", func(t *testing.T) {
		g := NewWithT(t)
		m := render(t, "--values", chart+"/ci/single-replica-values.yaml")
		for _, kind := range []string{"PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy"} {
			g.Expect(m.byKind(kind)).To(BeEmpty())
		}
	})
	t.Run("the APIService is off by default, and comes with flag and permission", func(t *testing.T) {
		g := NewWithT(t)
		m := render(t)
		g.Expect(m.byKind("APIService")).To(BeEmpty())
		g.Expect(controllerArgs(t, m)).NotTo(ContainElement("--manage-api-service"))
		m = render(t, "--set", "apiService.enabled=true")
		g.Expect(m.byKind("APIService").names()).To(ConsistOf("v1alpha1.crypto.keywright.dev"))
		g.Expect(controllerArgs(t, m)).To(ContainElement("--manage-api-service"))
	})
	t.Run("cert-manager makes the certificate and the controller does not", func(t *testing.T) {
		g := NewWithT(t)
		m := render(t)
		g.Expect(m.byKind("Certificate")).To(BeEmpty())
		g.Expect(controllerArgs(t, m)).To(ContainElement("--serving-certificate=self"))

		m = render(t, "--values", chart+"/ci/cert-manager-values.yaml")
		g.Expect(m.byKind("Certificate").names()).To(ConsistOf("keywright-ca", "keywright-server"))
		g.Expect(controllerArgs(t, m)).To(ContainElement("--serving-certificate=external"))

		m = render(t, "--values", chart+"/ci/cert-manager-issuer-values.yaml")
		g.Expect(m.byKind("Certificate").names()).To(ConsistOf("keywright-server"))
		g.Expect(m.byKind("Issuer")).To(BeEmpty())
	})
	t.Run("the controller certifies the names of another cluster domain", func(t *testing.T) {
		g := NewWithT(t)
		m := render(t, "--set", "certificates.clusterDomain=example.internal,certificates.extraNames={localhost,127.0.0.1}")
		g.Expect(controllerArgs(t, m)).To(ContainElement("--serving-names=keywright.keywright-system.svc.example.internal,localhost,127.0.0.1"))
	})
	t.Run("metrics off means off", func(t *testing.T) {
		g := NewWithT(t)
		m := render(t, "--set", "metrics.enabled=false")
		g.Expect(m.byKind("Service").names()).To(ConsistOf("keywright"))
		g.Expect(controllerArgs(t, m)).To(ContainElement("--metrics-bind-address=0"))
		for _, policy := range m.byKind("NetworkPolicy") {
			for _, rule := range typed[networkingv1.NetworkPolicy](t, policy).Spec.Ingress {
				g.Expect(rule.Ports).To(HaveLen(1))
				g.Expect(rule.Ports[0].Port.IntValue()).To(Equal(8443))
			}
		}
	})
	t.Run("nobody named for metrics means nobody, not everybody", func(t *testing.T) {
		g := NewWithT(t)
		m := render(t, "--set", "networkPolicy.metricsFrom=null")
		g.Expect(get[networkingv1.NetworkPolicy](t, m, "NetworkPolicy", "keywright-controller").Spec.Ingress).To(BeEmpty())
	})
}

func TestBadValuesAreRefused(t *testing.T) {
	for name, row := range map[string]struct{ set, want string }{
		"a name spelled wrong":                  {"server.replica=3", "additional properties 'replica' not allowed"},
		"no audit":                              {"server.audit.log=off", "/server/audit/log"},
		"a certificate from nowhere":            {"certificates.source=vault", "/certificates/source"},
		"a duration without unit":               {"server.outageGrace=600", "/server/outageGrace"},
		"a grace that cuts requests off":        {"server.shutdownDelaySeconds=20", "set at least 50"},
		"fewer at most than at least":           {"server.autoscaling.maxReplicas=1", "minReplicas is above maxReplicas"},
		"autoscaling by percent of nothing":     {"server.resources.requests.cpu=null", "server.autoscaling.enabled=false"},
		"a label that selects":                  {`commonLabels.app\.kubernetes\.io/name=x`, "commonLabels: the chart sets app.kubernetes.io/name itself"},
		"a pod label that selects":              {`server.podLabels.app\.kubernetes\.io/component=x`, "server.podLabels: the chart sets app.kubernetes.io/component itself"},
		"an argument that is none":              {"server.extraArgs={debug}", "/server/extraArgs/0"},
		"a digest without algorithm":            {"image.digest=0123", "/image/digest"},
		"no audience, so no token is good":      {"server.audiences=null", "audiences"},
		"the network policy without API server": {"networkPolicy.apiServerPorts={}", "/networkPolicy/apiServerPorts"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := template(t, "--set", row.set)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(row.want)))
		})
	}
}

// TestFlagsExist: the chart and the binary are written apart.
func TestFlagsExist(t *testing.T) {
	binary := root + "/bin/keywright"
	if _, err := os.Stat(binary); err != nil {
		t.Skip("no bin/keywright: 'make build' makes it, 'make test' does that first")
	}
	forEachValueFile(t, func(t *testing.T, m manifests) {
		g := NewWithT(t)
		for _, deployment := range deployments(t, m) {
			args := deployment.Spec.Template.Spec.Containers[0].Args
			help, err := exec.CommandContext(t.Context(), binary, args[0], "--help").CombinedOutput()
			g.Expect(err).NotTo(HaveOccurred(), "%s", help)
			for _, arg := range args[1:] {
				name, _, _ := strings.Cut(arg, "=")
				g.Expect(string(help)).To(MatchRegexp(regexp.QuoteMeta(name)+`\b`), "keywright %s has no flag %s", args[0], name)
			}
		}
	})
}

func TestNotesSayWhatToDoAndWhatIsNotProtected(t *testing.T) {
	g := NewWithT(t)
	notes, err := os.ReadFile(chart + "/templates/NOTES.txt")
	g.Expect(err).NotTo(HaveOccurred())
	for _, want := range []string{"SealedBySecret", "RootKeyProtected=False", "NOTHING", "kind: EncryptionKey", "keywright-ca", "create token", "curl", "helm uninstall"} {
		g.Expect(string(notes)).To(ContainSubstring(want))
	}
}

// TestInstallWithoutHelmIsTheSame: config/default and the chart cannot drift.
func TestInstallWithoutHelmIsTheSame(t *testing.T) {
	g := NewWithT(t)
	path, err := helm()
	g.Expect(err).NotTo(HaveOccurred())
	fresh := filepath.Join(t.TempDir(), "install.yaml")
	command := exec.CommandContext(t.Context(), root+"/hack/kustomize-from-chart.sh", fresh)
	command.Env = append(os.Environ(), "HELM="+path)
	out, err := command.CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), "%s", out)

	want, err := os.ReadFile(fresh)
	g.Expect(err).NotTo(HaveOccurred())
	have, err := os.ReadFile(root + "/config/default/install.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(have)).To(Equal(string(want)), "config/default/install.yaml is stale: run 'make manifests'")
	g.Expect(strings.ToLower(string(have[len("# Made by hack/kustomize-from-chart.sh from charts/keywright"):]))).NotTo(ContainSubstring("helm"))
	g.Expect(parse(t, have).byKind("CustomResourceDefinition")).To(BeEmpty())
}

func TestDefinitionsAreTheGeneratedOnes(t *testing.T) {
	g := NewWithT(t)
	bases, err := filepath.Glob(root + "/config/crd/bases/*.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(bases).NotTo(BeEmpty())
	copies, err := filepath.Glob(chart + "/files/crds/*.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(copies).To(HaveLen(len(bases)))

	var kustomization []byte
	kustomization, err = os.ReadFile(root + "/config/crd/kustomization.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	rendered := render(t).byKind("CustomResourceDefinition")
	g.Expect(rendered).To(HaveLen(len(bases)))
	for _, base := range bases {
		name := filepath.Base(base)
		want, err := os.ReadFile(base)
		g.Expect(err).NotTo(HaveOccurred())
		have, err := os.ReadFile(filepath.Join(chart, "files/crds", name))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(string(have)).To(Equal(string(want)), "charts/keywright/files/crds is stale: run 'make manifests'")
		g.Expect(string(kustomization)).To(ContainSubstring("bases/"+name), "config/crd/kustomization.yaml lacks it")

		generated := parse(t, want)[0]
		for _, crd := range rendered {
			if crd.GetName() == generated.GetName() {
				// Descriptions come through: kubectl explain lives on them.
				g.Expect(crd.Object["spec"]).To(Equal(generated.Object["spec"]))
			}
		}
	}
}

func TestUninstallKeepsWhatCiphertextsNeed(t *testing.T) {
	g := NewWithT(t)
	m := render(t)
	var kept manifests
	for _, object := range m {
		if object.GetAnnotations()["helm.sh/resource-policy"] == "keep" {
			kept = append(kept, object)
		}
	}
	for _, kind := range []string{"CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} {
		g.Expect(m.byKind(kind)).NotTo(BeEmpty())
		g.Expect(kept.byKind(kind)).To(Equal(m.byKind(kind)), "every %s is kept", kind)
	}
	g.Expect(kept).To(HaveLen(len(kept.byKind("CustomResourceDefinition")) + len(kept.byKind("ValidatingAdmissionPolicy")) +
		len(kept.byKind("ValidatingAdmissionPolicyBinding"))))
	// The controller makes them, so that no release owns them.
	for _, kind := range []string{"Secret", "KeyStore", "Namespace"} {
		g.Expect(m.byKind(kind)).To(BeEmpty())
	}
	// "kubectl delete … --selector" of the README finds what is kept.
	for _, object := range kept {
		g.Expect(object.GetLabels()).To(HaveKeyWithValue("app.kubernetes.io/part-of", "keywright"))
	}
}

func controllerArgs(t *testing.T, m manifests) []string {
	t.Helper()
	return get[appsv1.Deployment](t, m, "Deployment", "keywright-controller").Spec.Template.Spec.Containers[0].Args
}

func flagValue(g *WithT, container corev1.Container, name string) string {
	for _, arg := range container.Args {
		if value, ok := strings.CutPrefix(arg, name+"="); ok {
			return value
		}
	}
	g.Expect(container.Args).To(ContainElement(HavePrefix(name + "=")))
	return ""
}
