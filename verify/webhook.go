package verify

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/opmux/opmux/event"
)

const (
	hookQueue    = 1000 // verdicts that wait to be posted
	hookBatch    = 100  // verdicts in one post
	hookAttempts = 6
	hookPause    = 500 * time.Millisecond // before the second attempt; it doubles
)

// webhook posts verdicts as JSON. It never holds up verification: its queue is
// bounded, and what does not fit is counted in the next post.
type webhook struct {
	cfg      Webhook
	verifier string
	log      *zap.Logger
	metrics  *metrics
	client   *http.Client
	queue    chan *event.VerdictRecord

	mu      sync.Mutex
	dropped int64 // since the last post that arrived
}

func newWebhook(cfg Webhook, verifier string, log *zap.Logger, m *metrics) *webhook {
	return &webhook{
		cfg: cfg, verifier: verifier, log: log, metrics: m,
		client: &http.Client{Timeout: cfg.Timeout}, queue: make(chan *event.VerdictRecord, hookQueue),
	}
}

func (w *webhook) offer(v *event.VerdictRecord) {
	if !w.cfg.Always && !failed(v) {
		return
	}
	select {
	case w.queue <- v:
	default:
		w.drop(1)
	}
}

func (w *webhook) drop(n int) {
	w.metrics.dropped.Add(float64(n))
	w.mu.Lock()
	w.dropped += int64(n)
	w.mu.Unlock()
}

// run posts until ctx ends, and then, for one attempt's time, what waits.
func (w *webhook) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case v := <-w.queue:
			w.post(ctx, w.batch(v))
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.Timeout)
	defer cancel()
	for last.Err() == nil {
		select {
		case v := <-w.queue:
			w.post(last, w.batch(v))
		default:
			return
		}
	}
}

func (w *webhook) batch(first *event.VerdictRecord) []*event.VerdictRecord {
	batch := []*event.VerdictRecord{first}
	for len(batch) < hookBatch {
		select {
		case v := <-w.queue:
			batch = append(batch, v)
		default:
			return batch
		}
	}
	return batch
}

// post tries a batch until it arrives, is refused for good or was tried enough.
func (w *webhook) post(ctx context.Context, batch []*event.VerdictRecord) {
	w.mu.Lock()
	dropped := w.dropped
	w.mu.Unlock()
	body, err := json.Marshal(payload(w.verifier, batch, dropped))
	if err == nil {
		err = w.try(ctx, body)
	}
	if err != nil {
		w.metrics.posts.WithLabelValues("failed").Inc()
		w.drop(len(batch))
		w.log.Error("the webhook did not take verdicts", zap.Int("verdicts", len(batch)), zap.Error(err))
		return
	}
	w.metrics.posts.WithLabelValues("sent").Inc()
	w.mu.Lock()
	w.dropped -= dropped
	w.mu.Unlock()
}

// try makes attempts with pauses between them. The end of ctx ends the pauses; an
// attempt that has begun may take its time (Webhook.Timeout).
func (w *webhook) try(ctx context.Context, body []byte) error {
	pause := hookPause
	for attempt := 1; ; attempt++ {
		again, err := w.once(context.WithoutCancel(ctx), body)
		if err == nil || !again || attempt == hookAttempts || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause *= 2
	}
}

// once makes one attempt and says whether another one makes sense.
func (w *webhook) once(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("webhook.url is not a URL that can be posted to")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "opmux-verify-worker")
	resp, err := w.client.Do(req)
	if err != nil {
		// The URL may hold a secret: it stays out of the message.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return true, err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	_ = resp.Body.Close()
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		return false, nil
	case s >= 500 || s == http.StatusTooManyRequests || s == http.StatusRequestTimeout:
		return true, fmt.Errorf("answered %s", resp.Status)
	default:
		return false, fmt.Errorf("answered %s", resp.Status)
	}
}

// hookPayload is the body of a post; docs/verification.md describes it.
type hookPayload struct {
	Verifier string        `json:"verifier"`
	Dropped  int64         `json:"dropped"`
	Verdicts []hookVerdict `json:"verdicts"`
}

type hookVerdict struct {
	Source   string        `json:"source"`
	Target   string        `json:"target"`
	ID       string        `json:"id"`
	Offset   int64         `json:"offset"`
	Time     time.Time     `json:"time"`
	Match    int32         `json:"match"`
	Mismatch int32         `json:"mismatch"`
	Missing  int32         `json:"missing"`
	Skipped  int32         `json:"skipped"`
	Findings []hookFinding `json:"findings"`
}

type hookFinding struct {
	Operation int32         `json:"operation"`
	Verdict   event.Verdict `json:"verdict"`
	Level     event.Level   `json:"level"`
	Reason    string        `json:"reason"`
	Statement string        `json:"statement,omitempty"`
	Primary   *hookSide     `json:"primary,omitempty"`
	Backup    *hookSide     `json:"backup,omitempty"`
}

type hookSide struct {
	SQLState string `json:"sqlstate"`
	Affected int64  `json:"affected"`
	Hash     string `json:"hash,omitempty"`
}

func payload(verifier string, batch []*event.VerdictRecord, dropped int64) hookPayload {
	p := hookPayload{Verifier: verifier, Dropped: dropped}
	for _, v := range batch {
		hv := hookVerdict{
			Source: v.Source, Target: v.Target, ID: idText(v.Tx), Offset: v.Offset, Time: time.UnixMicro(v.Time).UTC(),
			Match: v.Match, Mismatch: v.Mismatch, Missing: v.Missing, Skipped: v.Skipped, Findings: []hookFinding{},
		}
		for i := range v.Findings {
			f := &v.Findings[i]
			hv.Findings = append(hv.Findings, hookFinding{
				Operation: f.Index, Verdict: f.Verdict, Level: f.Level, Reason: f.Reason, Statement: f.Statement,
				Primary: hookSideOf(f.Primary), Backup: hookSideOf(f.Backup),
			})
		}
		p.Verdicts = append(p.Verdicts, hv)
	}
	return p
}

func hookSideOf(d event.Digest) *hookSide {
	if d.SQLState == "" {
		return nil
	}
	return &hookSide{SQLState: d.SQLState, Affected: d.Affected, Hash: hex.EncodeToString(d.Hash)}
}

// idText is a transaction's id in the form of RFC 9562.
func idText(tx event.TxID) string {
	h := hex.EncodeToString(tx[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
