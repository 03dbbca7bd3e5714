package verify

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

func hook(t *testing.T, url string, always bool) (*webhook, *observer.ObservedLogs, func()) {
	core, logs := observer.New(zapcore.DebugLevel)
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := newWebhook(Webhook{URL: url, Always: always, Timeout: 2 * time.Second}, "v1", zap.New(core), m)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.run(ctx) })
	stop := func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return w, logs, stop
}

func TestWebhookPostsFailuresAndTriesAgain(t *testing.T) {
	h := hookLog{status: []int{503, 429}}
	server := httptest.NewServer(&h)
	t.Cleanup(server.Close)
	w, _, _ := hook(t, server.URL, false)
	w.offer(compare(event.LevelCount, primaryOf(1, 1), backupOf("a", 1, 1)))
	w.offer(compare(event.LevelCount, primaryOf(2, 1), backupOf("a", 2, 0)))
	testkit.Eventually(t, testkit.Patience, func() error { return h.has("affected rows: 1 on the primary, 0 on the backup") })
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.bodies) != 1 || strings.Contains(h.bodies[0], "Offset:1 ") {
		t.Errorf("posts are %v", h.bodies)
	}
}

func TestWebhookAlwaysPostsAllAndFlushesAtTheEnd(t *testing.T) {
	var h hookLog
	server := httptest.NewServer(&h)
	t.Cleanup(server.Close)
	w, _, stop := hook(t, server.URL, true)
	for n := range 50 {
		w.offer(compare(event.LevelCount, primaryOf(n, 1), backupOf("a", n, 1)))
	}
	stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := strings.Count(strings.Join(h.bodies, " "), "Target:a"); n != 50 {
		t.Errorf("%d of 50 verdicts were posted", n)
	}
}

func TestWebhookGivesUpAndKeepsTheSecret(t *testing.T) {
	var h hookLog
	h.status = []int{404}
	server := httptest.NewServer(&h)
	t.Cleanup(server.Close)
	w, logs, _ := hook(t, server.URL+"/token-s3cret", false)
	w.offer(compare(event.LevelCount, primaryOf(1, 1), backupOf("a", 1, 0)))
	testkit.Eventually(t, testkit.Patience, func() error {
		if logs.Len() == 0 {
			return io.EOF
		}
		return nil
	})
	gone, logs2, stop := hook(t, "http://127.0.0.1:1/token-s3cret", false)
	gone.offer(compare(event.LevelCount, primaryOf(1, 1), backupOf("a", 1, 0)))
	stop()
	for _, e := range append(logs.All(), logs2.All()...) {
		text, _ := json.Marshal(e.ContextMap())
		if strings.Contains(string(text), "s3cret") {
			t.Errorf("the log has the URL: %s", text)
		}
	}
	if logs2.Len() != 1 {
		t.Errorf("%d log entries about a webhook that cannot be reached", logs2.Len())
	}
	// What was dropped is told with the next post that arrives.
	w.offer(compare(event.LevelCount, primaryOf(2, 1), backupOf("a", 2, 0)))
	testkit.Eventually(t, testkit.Patience, func() error { return h.has("Dropped:1 ") })
}

func TestI7_WebhookQueueIsBounded(t *testing.T) {
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-block }))
	t.Cleanup(server.Close)
	defer close(block)
	w, _, _ := hook(t, server.URL, false)
	v := compare(event.LevelCount, primaryOf(1, 1), backupOf("a", 1, 0))
	for range hookQueue + 2*hookBatch {
		w.offer(v) // does not block
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dropped == 0 {
		t.Error("nothing was dropped")
	}
}
