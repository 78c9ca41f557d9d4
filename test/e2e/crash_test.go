package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keywright/keywright/test/rig"
)

const (
	crashSeed    = 20260101
	crashes      = 50
	crashKeys    = 60
	crashWorkers = 8
)

// TestKilledFiftyTimes kills the controller at random points while keys are made
// and rotated, and now and then a server, under steady load on two of them.
func TestKilledFiftyTimes(t *testing.T) {
	t.Logf("seed %d", crashSeed)
	s := startAlone(t, rig.Options{Servers: 2})
	c := &crash{story: s, token: s.workload("checkout"), random: rand.New(rand.NewPCG(crashSeed, crashSeed)), asked: map[types.NamespacedName]map[int64]bool{}} // repeatable on purpose
	c.http = []*rig.Client{s.Client(0, c.token), s.Client(1, c.token)}
	c.servers = make([]outages, 2)

	ctx, stop := context.WithCancel(t.Context())
	var load, mutators sync.WaitGroup
	mutators.Go(func() { c.mutate(ctx) })
	for worker := range crashWorkers {
		load.Go(func() { c.use(ctx, worker) })
	}
	for i := range crashes {
		c.pause(time.Duration(c.random.Int64N(int64(1200 * time.Millisecond))))
		c.kill(i)
	}
	stop()
	mutators.Wait()
	load.Wait()
	s.Expect(s.WaitReady(t.Context())).To(Succeed())
	c.judge()
}

type crash struct {
	*story
	token  string
	random *rand.Rand
	http   []*rig.Client

	mu    sync.Mutex
	ready []types.NamespacedName
	asked map[types.NamespacedName]map[int64]bool // seconds of the requests to rotate

	servers     []outages
	ciphertexts ciphertexts
	requests    atomic.Int64 // how many, and how many of them were in flight on a killed server
	inFlight    atomic.Int64
	failures    sync.Map
}

// outages counts, so that a request knows whether its server was killed
// meanwhile: odd is down.
type outages struct{ atomic.Int64 }

// pause waits without a Sleep: the test may end meanwhile.
func (c *crash) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.ctx.Done():
	}
}

func (c *crash) kill(i int) {
	controller := c.Controllers[0]
	controller.Kill()
	c.Expect(controller.Start()).To(Succeed())
	if i%10 != 9 {
		return
	}
	server := i / 10 % len(c.Servers)
	c.servers[server].Add(1)
	c.Expect(c.Servers[server].Restart(c.ctx)).To(Succeed())
	c.servers[server].Add(1)
}

// mutate makes keys and asks for rotations until ctx is done.
func (c *crash) mutate(ctx context.Context) {
	ticker := time.NewTicker(60 * time.Millisecond)
	defer ticker.Stop()
	random := rand.New(rand.NewPCG(crashSeed, 1)) // repeatable on purpose
	for made := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if made < crashKeys && random.IntN(4) == 0 {
			key := rig.NewKey(tenant, keyName(made))
			made++
			c.mu.Lock()
			c.asked[nameOf(key)] = map[int64]bool{}
			c.mu.Unlock()
			// Not ctx: a create that is cut off may have happened or not.
			if err := c.Admin.Create(c.ctx, key); err != nil { //nolint:contextcheck // see above
				c.fail(ctx, "create key", err)
			}
			continue
		}
		if made == 0 {
			continue
		}
		name, now := types.NamespacedName{Namespace: tenant, Name: keyName(random.IntN(made))}, time.Now()
		c.mu.Lock()
		c.asked[name][now.Unix()] = true
		c.mu.Unlock()
		if err := c.Admin.Patch(ctx, rig.NewKey(name.Namespace, name.Name), client.RawPatch(types.MergePatchType, []byte(rotationPatch(now)))); err != nil {
			c.fail(ctx, "request rotation", err)
		}
	}
}

// use encrypts on one server and decrypts something on the other until ctx is done.
func (c *crash) use(ctx context.Context, worker int) {
	ticker := time.NewTicker(40 * time.Millisecond)
	defer ticker.Stop()
	random := rand.New(rand.NewPCG(crashSeed, uint64(worker)+2)) // repeatable on purpose
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		name, ok := c.someKey(ctx, random)
		if !ok {
			continue
		}
		plaintext := rig.Plaintext(fmt.Sprintf("%d/%d", worker, n))
		c.request(ctx, n%2, "encrypt", func(client *rig.Client) error {
			answer, err := client.Encrypt(ctx, name, plaintext, nil)
			if err == nil {
				c.ciphertexts.add(kept{key: name, ciphertext: answer.Ciphertext, plaintext: plaintext})
			}
			return err
		})
		all := c.ciphertexts.all()
		if len(all) == 0 {
			continue
		}
		old := all[random.IntN(len(all))]
		c.request(ctx, (n+1)%2, "decrypt", func(client *rig.Client) error {
			answer, err := client.Decrypt(ctx, old.key, old.ciphertext, nil)
			if err == nil && !bytes.Equal(answer.Plaintext, old.plaintext) {
				err = errors.New("another plaintext")
			}
			return err
		})
	}
}

// someKey returns a key that has been Ready once: from then on it must serve.
func (c *crash) someKey(ctx context.Context, random *rand.Rand) (types.NamespacedName, bool) {
	c.mu.Lock()
	ready := len(c.ready)
	made := len(c.asked)
	c.mu.Unlock()
	if ready < made { // look whether the next one is
		name := types.NamespacedName{Namespace: tenant, Name: keyName(ready)}
		key := rig.NewKey(name.Namespace, name.Name)
		if err := c.Admin.Get(ctx, name, key); err == nil && key.Status.CurrentVersion > 0 {
			c.mu.Lock()
			if len(c.ready) == ready {
				c.ready = append(c.ready, name)
			}
			c.mu.Unlock()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ready) == 0 {
		return types.NamespacedName{}, false
	}
	return c.ready[random.IntN(len(c.ready))], true
}

// request asks one server, or the other while it is down. It may fail only if the
// server was killed while the request was in flight.
func (c *crash) request(ctx context.Context, server int, what string, do func(*rig.Client) error) {
	if c.servers[server].Load()%2 == 1 {
		server = 1 - server
	}
	before := c.servers[server].Load()
	if before%2 == 1 {
		return
	}
	c.requests.Add(1)
	err := do(c.http[server])
	if err == nil || ctx.Err() != nil {
		return
	}
	if _, answered := errors.AsType[*apierrors.StatusError](err); !answered && c.servers[server].Load() != before {
		c.inFlight.Add(1)
		return
	}
	c.fail(ctx, fmt.Sprintf("%s on server %d", what, server), err)
}

func (c *crash) fail(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		c.failures.Store(what+": "+err.Error(), true)
	}
}

// judge is at the end, with everything up.
func (c *crash) judge() {
	c.t.Logf("%d requests, %d of them in flight on a killed server; %d ciphertexts", c.requests.Load(), c.inFlight.Load(), len(c.ciphertexts.all()))
	c.failures.Range(func(what, _ any) bool { c.t.Error(what); return true })
	c.Expect(c.ciphertexts.all()).NotTo(BeEmpty())

	keys := c.keys()
	c.Expect(keys).To(HaveLen(len(c.asked)))
	versions := 0
	for _, k := range keys {
		name := nameOf(&k)
		key := c.await(name, rig.Ready)
		// A request that came while another waited replaced it; a request in the second
		// of another is the same. So there may be fewer versions, never more.
		c.Expect(int(key.Status.CurrentVersion)).To(BeNumerically("<=", 1+len(c.asked[name])), "%s has a version that nobody asked for", name)
		c.Expect(c.versions()[key.Status.KeyID]).To(Equal(int(key.Status.CurrentVersion)), "material of %s", name)
		versions += int(key.Status.CurrentVersion)
	}
	c.t.Logf("%d keys with %d versions", len(keys), versions)
	c.Expect(c.versions()).To(HaveLen(len(keys)))
	c.onePerRequest()

	all := c.ciphertexts.all()
	c.forEach(len(all), func(ctx context.Context, i int) error {
		answer, err := c.http[i%2].Decrypt(ctx, all[i].key, all[i].ciphertext, nil)
		if err == nil && !bytes.Equal(answer.Plaintext, all[i].plaintext) {
			err = errors.New("another plaintext")
		}
		if err != nil {
			return fmt.Errorf("ciphertext %d of %s: %w", i, all[i].key, err)
		}
		return nil
	})
}
