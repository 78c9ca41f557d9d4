// Package controllers runs the controllers of Keywright in one process.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/controllers/encryptionkey"
	"github.com/keywright/keywright/controllers/keystore"
	"github.com/keywright/keywright/controllers/servingcert"
	"github.com/keywright/keywright/internal/keystore/software"
	"github.com/keywright/keywright/internal/material"
	"github.com/keywright/keywright/internal/rootkey"
)

const (
	controllerName = "keywright-controller"
	leaseName      = "keywright-controller"
)

// Options configure Run.
type Options struct {
	// Namespace is Keywright's own, where material rests. Required.
	Namespace string
	// LeaderElect lets one process of several work. Two that work at once do no
	// harm.
	LeaderElect bool
	// MetricsBindAddress and HealthProbeBindAddress are host:port; "0" is off.
	MetricsBindAddress     string
	HealthProbeBindAddress string
	// Workers is how many EncryptionKeys are reconciled at once. Default: 8.
	Workers int
	// MinRotationInterval is the shortest time between two automatic rotations of
	// a key. Zero means one minute.
	MinRotationInterval time.Duration
	// ExternalCertificate leaves the serving certificate to somebody else.
	ExternalCertificate bool
	// ManageAPIService keeps the caBundle of the APIService.
	ManageAPIService bool
	// Service is the name of the Service in front of the servers. Required.
	Service string
	// ServingNames are further names and addresses to certify.
	ServingNames []string
}

// Scheme returns the types that the controllers read and write.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	err := errors.Join(
		clientgoscheme.AddToScheme(scheme),
		keywrightv1alpha1.AddToScheme(scheme),
		apiregistrationv1.AddToScheme(scheme),
	)
	return scheme, err
}

// Run runs the controllers until ctx is done, or leadership is lost.
func Run(ctx context.Context, config *rest.Config, options Options) error {
	scheme, err := Scheme()
	if err != nil {
		return fmt.Errorf("build scheme: %w", err)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                  scheme,
		LeaderElection:          options.LeaderElect,
		LeaderElectionID:        leaseName,
		LeaderElectionNamespace: options.Namespace,
		// Ending with the process is safe, because nothing runs after the manager;
		// it saves the next leader the wait.
		LeaderElectionReleaseOnCancel: true,
		Metrics:                       metricsserver.Options{BindAddress: options.MetricsBindAddress},
		HealthProbeBindAddress:        options.HealthProbeBindAddress,
		LivenessEndpointName:          "/livez",
		Cache:                         cacheOptions(options.Namespace),
		Client: client.Options{Cache: &client.CacheOptions{
			// Everything else in Keywright's namespace is read live, by name.
			DisableFor: []client.Object{&corev1.ConfigMap{}, &apiregistrationv1.APIService{}},
		}},
	})
	if err != nil {
		return fmt.Errorf("make manager: %w", err)
	}
	if err := add(ctx, mgr, options); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// cacheOptions bound the cache to what the controllers look at. Of Secrets that
// is sealed material alone.
func cacheOptions(namespace string) cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {
				Namespaces: map[string]cache.Config{namespace: {}},
				Label:      labels.SelectorFromSet(labels.Set{keywrightv1alpha1.MaterialLabel: "true"}),
			},
		},
	}
}

// add registers everything with the manager.
func add(ctx context.Context, mgr ctrl.Manager, options Options) error {
	root := &rootkey.Source{}
	store := software.New(mgr.GetAPIReader(), mgr.GetClient(), options.Namespace, root)
	realClock := clock.RealClock{}

	if err := mgr.GetFieldIndexer().IndexField(ctx, &keywrightv1alpha1.EncryptionKey{}, encryptionkey.KeyStoreField, encryptionkey.KeyStoreOf); err != nil {
		return fmt.Errorf("index EncryptionKeys: %w", err)
	}
	if err := material.AddIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	stores := &keystore.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Root: root, Store: store,
		Namespace: options.Namespace, Clock: realClock, Recorder: mgr.GetEventRecorder(controllerName),
	}
	if err := stores.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up keystore controller: %w", err)
	}
	keys := &encryptionkey.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Store: store, Root: root,
		Namespace: options.Namespace, Clock: realClock, Recorder: mgr.GetEventRecorder(controllerName),
		Indexed: true, MinRotationInterval: options.MinRotationInterval,
	}
	workers := options.Workers
	if workers == 0 {
		workers = 8
	}
	if err := keys.SetupWithManager(mgr, workers); err != nil {
		return fmt.Errorf("set up encryptionkey controller: %w", err)
	}
	if err := mgr.Add(&servingcert.Keeper{
		Reader: mgr.GetAPIReader(), Writer: mgr.GetClient(), Namespace: options.Namespace,
		Service: options.Service, Names: options.ServingNames,
		External: options.ExternalCertificate, APIService: options.ManageAPIService, Clock: realClock,
	}); err != nil {
		return fmt.Errorf("set up serving certificate: %w", err)
	}
	if err := metrics.Registry.Register(newKeyCollector(mgr.GetClient(), realClock)); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add /healthz: %w", err)
	}
	return mgr.AddReadyzCheck("caches", cachesSynced(mgr.GetCache()))
}

// cachesSynced is ready when the watches have brought what there is. It holds for
// a process that waits for leadership, too.
func cachesSynced(c cache.Cache) healthz.Checker {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), time.Second)
		defer cancel()
		if !c.WaitForCacheSync(ctx) {
			return errors.New("caches are not synced")
		}
		return nil
	}
}
