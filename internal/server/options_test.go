package server

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/httpapi"
	"github.com/keywright/keywright/internal/keystore/keystoretest"
)

func valid() Options {
	return Options{
		Config: &rest.Config{Host: "https://127.0.0.1:1"}, Store: keystoretest.NewFake(), Log: slog.New(slog.DiscardHandler),
		RootKeyReady:       func(context.Context) error { return nil },
		BindAddress:        "127.0.0.1:0",
		MetricsBindAddress: "0", HealthProbeBindAddress: "0", AuditLog: "off", AuditOverflow: audit.Block,
		Limits: httpapi.Limits{InFlight: 1, InFlightPerPrincipal: 1, RatePerPrincipal: 1, BurstPerPrincipal: 1},
	}
}

func TestRunRefusesOptionsThatMakeNoSense(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no store":                    {func(o *Options) { o.Store = nil }, "required"},
		"an overflow without meaning": {func(o *Options) { o.AuditOverflow = "panic" }, `"block" or "drop"`},
		"nobody may ask":              {func(o *Options) { o.Limits.InFlight = 0 }, "positive"},
		"a negative grace":            {func(o *Options) { o.OutageGrace = -time.Second }, "not negative"},
		"an audit log in no folder":   {func(o *Options) { o.AuditLog = "/dev/null/audit.log" }, "open the audit log"},
		"an address that is none":     {func(o *Options) { o.MetricsBindAddress = "nowhere" }, "listen on nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			options := valid()
			test.change(&options)
			if err := Run(t.Context(), options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRunEndsWhileItWaitsForItsCertificate(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := Run(ctx, valid()); err != nil {
		t.Errorf("got %v", err)
	}
}
