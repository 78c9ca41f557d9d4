package authn

import (
	"context"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
)

// Where kube-apiserver says whom extension API servers may believe. Role
// extension-apiserver-authentication-reader allows to read it.
const (
	configMapNamespace = "kube-system"
	configMapName      = "extension-apiserver-authentication"
)

// certificates authenticates by what the peer of the TLS connection has proved.
// The TLS layer asks for a certificate and checks possession of its key only;
// which CA counts is decided here, at every request, so that a CA that is replaced
// counts for open connections, too.
type certificates struct {
	frontProxy authenticator.Request
	client     authenticator.Request
	// controllers keep the two up to date.
	controllers []func(ctx context.Context, workers int)
}

func newCertificates(kube kubernetes.Interface) (*certificates, error) {
	clientCA, err := dynamiccertificates.NewDynamicCAFromConfigMapController(
		"client-ca", configMapNamespace, configMapName, "client-ca-file", kube)
	if err != nil {
		return nil, err
	}
	frontProxyCA, err := dynamiccertificates.NewDynamicCAFromConfigMapController(
		"front-proxy-ca", configMapNamespace, configMapName, "requestheader-client-ca-file", kube)
	if err != nil {
		return nil, err
	}
	headers := headerrequest.NewRequestHeaderAuthRequestController(configMapName, configMapNamespace, kube,
		"requestheader-username-headers",
		"requestheader-uid-headers",
		"requestheader-group-headers",
		"requestheader-extra-headers-prefix",
		"requestheader-allowed-names")
	slice := func(f func() []string) headerrequest.StringSliceProvider {
		return headerrequest.StringSliceProviderFunc(f)
	}
	return &certificates{
		frontProxy: headerrequest.NewDynamicVerifyOptionsSecure(
			frontProxyCA.VerifyOptions,
			slice(headers.AllowedClientNames),
			slice(headers.UsernameHeaders),
			slice(headers.UIDHeaders),
			slice(headers.GroupHeaders),
			slice(headers.ExtraHeaderPrefixes),
		),
		client:      x509.NewDynamic(clientCA.VerifyOptions, x509.CommonNameUserConversion),
		controllers: []func(context.Context, int){clientCA.Run, frontProxyCA.Run, headers.Run},
	}, nil
}
