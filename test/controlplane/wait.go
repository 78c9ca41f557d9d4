package controlplane

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

const pollInterval = 100 * time.Millisecond

// waitReady waits for /readyz, which says more than the /healthz that envtest
// waits for: it includes the start hooks that make the RBAC bootstrap roles.
func (c *ControlPlane) waitReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	var last error
	err = poll(ctx, func(ctx context.Context) bool {
		last = client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("wait for kube-apiserver to be ready: %w (last answer: %v)", err, last) //nolint:errorlint // the last answer is detail, ctx is the cause
	}
	return nil
}

func (c *ControlPlane) waitDefaultServiceAccount(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	err = poll(ctx, func(ctx context.Context) bool {
		_, err := client.CoreV1().ServiceAccounts(corev1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	if err != nil {
		return fmt.Errorf("wait for kube-controller-manager to make the default service account (logs in %s): %w", c.Dir, err)
	}
	return nil
}

// poll treats every error as "not yet": what is asked for is coming up.
func poll(ctx context.Context, done func(context.Context) bool) error {
	return wait.PollUntilContextTimeout(ctx, pollInterval, startTimeout, true,
		func(ctx context.Context) (bool, error) { return done(ctx), nil })
}
