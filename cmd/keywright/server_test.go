package main

import (
	"testing"
)

// TestServerFlags holds the flags to what the documents and the chart say.
func TestServerFlags(t *testing.T) {
	flags := newServerCommand().Flags()
	for name, want := range map[string]string{
		"bind-address": ":8443", "tls-cert-file": "/var/run/keywright/tls/tls.crt", "tls-private-key-file": "/var/run/keywright/tls/tls.key",
		"audit-log": "-", "audit-log-max-size-mb": "100", "audit-log-max-backups": "10", "audit-overflow": "block", "audiences": "[keywright]",
		"authentication-cache-ttl": "10s", "authorization-cache-ttl": "10s", "outage-grace": "10m0s",
		"max-in-flight": "400", "max-in-flight-per-principal": "100", "rate-per-principal": "2000", "burst-per-principal": "4000", "shutdown-delay": "5s",
		"metrics-bind-address": ":8080", "health-probe-bind-address": ":8081",
	} {
		switch flag := flags.Lookup(name); {
		case flag == nil:
			t.Errorf("no flag --%s", name)
		case flag.DefValue != want:
			t.Errorf("--%s is %s by default, want %s", name, flag.DefValue, want)
		}
	}
}
