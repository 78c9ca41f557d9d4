package authz_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keywright/keywright/internal/authz"
	"github.com/keywright/keywright/internal/principal"
)

// reviewer is an API server that answers SubjectAccessReviews.
type reviewer struct {
	status authorizationv1.SubjectAccessReviewStatus
	err    error
	asked  []authorizationv1.SubjectAccessReviewSpec
}

func (r *reviewer) delegate(clock *clocktesting.FakePassiveClock) *authz.Delegate {
	client := fake.NewClientset()
	client.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		r.asked = append(r.asked, review.Spec)
		review.Status = r.status
		return true, review, r.err
	})
	return authz.NewDelegate(client.AuthorizationV1().SubjectAccessReviews(),
		authz.Options{CacheTTL: 10 * time.Second, OutageGrace: time.Minute}, clock)
}

var (
	alice   = &user.DefaultInfo{Name: "alice", UID: "7", Groups: []string{"g"}, Extra: map[string][]string{"e": {"v"}}}
	encrypt = authz.Permission{Subresource: "encrypt", Namespace: "shop", Name: "orders"}
	allowed = authorizationv1.SubjectAccessReviewStatus{Allowed: true}
)

func newClock() *clocktesting.FakePassiveClock {
	return clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))
}

func TestDelegateAsksForCreateOnTheSubresource(t *testing.T) {
	r := &reviewer{status: allowed}
	if err := r.delegate(newClock()).Authorize(t.Context(), alice, encrypt); err != nil {
		t.Fatal(err)
	}
	want := []authorizationv1.SubjectAccessReviewSpec{{
		User: "alice", UID: "7", Groups: []string{"g"}, Extra: map[string]authorizationv1.ExtraValue{"e": {"v"}},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: "create", Group: "crypto.keywright.dev", Version: "v1alpha1",
			Resource: "encryptionkeys", Subresource: "encrypt", Namespace: "shop", Name: "orders",
		},
	}}
	if diff := cmp.Diff(want, r.asked); diff != "" {
		t.Error(diff)
	}
}

func TestDelegateRemembersEachPermissionOfEachPrincipal(t *testing.T) {
	r := &reviewer{status: allowed}
	delegate := r.delegate(newClock())
	ask := func(who user.Info, p authz.Permission, wantReviews int) {
		t.Helper()
		r.asked = nil
		if err := delegate.Authorize(t.Context(), who, p); err != nil || len(r.asked) != wantReviews {
			t.Errorf("%d reviews, want %d; error %v", len(r.asked), wantReviews, err)
		}
	}
	ask(alice, encrypt, 1)
	ask(alice, encrypt, 0)
	ask(principal.New(alice), encrypt, 1) // another group
	ask(&user.DefaultInfo{Name: "alice", UID: "7", Groups: []string{"g"}}, encrypt, 1)
	ask(alice, authz.Permission{Subresource: "decrypt", Namespace: "shop", Name: "orders"}, 1)
	ask(alice, authz.Permission{Subresource: "encrypt", Namespace: "sho", Name: "porders"}, 1)
	ask(alice, authz.Permission{Subresource: "encrypt", Namespace: "shop", Name: "order"}, 1)
}

func TestDelegateDecisions(t *testing.T) {
	tests := map[string]struct {
		status authorizationv1.SubjectAccessReviewStatus
		err    error
		want   error
	}{
		"allowed":                  {status: allowed},
		"no opinion is a denial":   {want: authz.ErrDenied},
		"denied":                   {status: authorizationv1.SubjectAccessReviewStatus{Denied: true}, want: authz.ErrDenied},
		"allowed and denied":       {status: authorizationv1.SubjectAccessReviewStatus{Denied: true, Allowed: true}, want: authz.ErrDenied},
		"a review that cannot run": {err: errors.New("connection refused"), want: authz.ErrUnavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := &reviewer{status: test.status, err: test.err}
			if err := r.delegate(newClock()).Authorize(t.Context(), alice, encrypt); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestEdge23_PermissionsOutliveAnOutageForTheGraceOnly(t *testing.T) {
	clock := newClock()
	r := &reviewer{status: allowed}
	delegate := r.delegate(clock)
	if err := delegate.Authorize(t.Context(), alice, encrypt); err != nil {
		t.Fatal(err)
	}
	r.err = context.DeadlineExceeded
	for _, step := range []struct {
		after time.Duration
		want  error
	}{{11 * time.Second, nil}, {48 * time.Second, nil}, {time.Second, authz.ErrUnavailable}} {
		clock.SetTime(clock.Now().Add(step.after))
		if err := delegate.Authorize(t.Context(), alice, encrypt); !errors.Is(err, step.want) {
			t.Fatalf("got %v, want %v", err, step.want)
		}
	}
	decrypt := authz.Permission{Subresource: "decrypt", Namespace: "shop", Name: "orders"}
	if err := delegate.Authorize(t.Context(), alice, decrypt); !errors.Is(err, authz.ErrUnavailable) {
		t.Errorf("a permission that was never confirmed: %v", err)
	}
	// Back without restart.
	r.err = nil
	if err := delegate.Authorize(t.Context(), alice, decrypt); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

func BenchmarkDelegateRemembered(b *testing.B) {
	r := &reviewer{status: allowed}
	delegate := r.delegate(newClock())
	who := principal.New(alice)
	b.ReportAllocs()
	for b.Loop() {
		if err := delegate.Authorize(b.Context(), who, encrypt); err != nil {
			b.Fatal(err)
		}
	}
}
