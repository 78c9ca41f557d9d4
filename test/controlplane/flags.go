package controlplane

import (
	"net"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	loopback = "127.0.0.1"

	// issuer is what tokens of a kubeadm cluster carry. envtest would use the URL
	// with its random port, which no two runs share.
	issuer = "https://kubernetes.default.svc"

	// startTimeout is generous: a cold start on a loaded machine of two cores has
	// been seen to take longer than envtest's 20 seconds.
	startTimeout = 90 * time.Second
	stopTimeout  = 30 * time.Second
)

func (c *ControlPlane) configureEtcd(path string, fsync bool) error {
	log, err := c.log("etcd")
	if err != nil {
		return err
	}
	c.plane.Etcd = &envtest.Etcd{
		Path:         path,
		DataDir:      c.etcdData(),
		StartTimeout: startTimeout,
		StopTimeout:  stopTimeout,
		Out:          log,
		Err:          log,
	}
	if fsync {
		c.plane.Etcd.Configure().Disable("unsafe-no-fsync") // envtest's default is to skip it
	}
	return nil
}

func (c *ControlPlane) configureAPIServer(path string, o Options) error {
	log, err := c.log("kube-apiserver")
	if err != nil {
		return err
	}
	proxy, err := writeFrontProxy(c.certs())
	if err != nil {
		return err
	}
	server := &envtest.APIServer{
		Path:         path,
		CertDir:      c.certs(),
		StartTimeout: startTimeout,
		StopTimeout:  stopTimeout,
		Out:          log,
		Err:          log,
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	server.ListenAddr = envtest.ListenAddr{Address: loopback, Port: port}
	flags := server.Configure().
		Set("authorization-mode", "Node", "RBAC").
		Set("service-account-issuer", issuer).
		Set("api-audiences", issuer).
		Set("advertise-address", loopback).
		// The endpoint reconciler refuses loopback addresses, and looking for another
		// one fails on a machine without a default route. Nothing here needs it.
		Set("endpoint-reconciler-type", "none").
		Set("requestheader-client-ca-file", proxy.ca).
		Set("requestheader-allowed-names", frontProxyName).
		Set("requestheader-username-headers", "X-Remote-User").
		Set("requestheader-group-headers", "X-Remote-Group").
		Set("requestheader-extra-headers-prefix", "X-Remote-Extra-").
		Set("proxy-client-cert-file", proxy.cert).
		Set("proxy-client-key-file", proxy.key).
		Set("enable-aggregator-routing", "false").
		// Without it a server that is asked to stop waits a minute for watches, and
		// the controller manager always has some open.
		Set("shutdown-watch-termination-grace-period", "2s")
	if !o.WithoutControllerManager {
		// envtest turns this plugin off because nobody there makes the default
		// service accounts. Here the controller manager does.
		flags.Disable("disable-admission-plugins")
	}
	for name, value := range o.APIServerFlags {
		flags.Set(name, value)
	}
	c.plane.APIServer = server
	return nil
}

// startControllerManager runs it without a serving port: nobody asks it anything,
// and its health shows in what it makes.
func (c *ControlPlane) startControllerManager(path string) error {
	kubeconfig := filepath.Join(c.Dir, "controller-manager.kubeconfig")
	user := envtest.User{Name: "system:kube-controller-manager"}
	if _, err := c.addUser(user, kubeconfig); err != nil {
		return err
	}
	rootCA := filepath.Join(c.certs(), "root-ca.crt")
	if err := os.WriteFile(rootCA, c.plane.APIServer.CA, 0o600); err != nil {
		return err
	}
	log, err := c.log("kube-controller-manager")
	if err != nil {
		return err
	}
	c.manager, err = startProcess(log, path,
		"--kubeconfig="+kubeconfig,
		"--secure-port=0",
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file="+filepath.Join(c.certs(), "sa-signer.key"),
		"--root-ca-file="+rootCA,
	)
	return err
}

// freePort asks the kernel. envtest picks the same way but leaves the address to
// the resolver of the machine.
func freePort() (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "", err
	}
	return port, l.Close()
}
