package topics

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// transient says whether err is Kafka being away or busy, which passes.
func transient(err error) bool {
	var network net.Error
	return kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err) || errors.As(err, &network) ||
		errors.Is(err, context.DeadlineExceeded)
}

// retry calls f until it succeeds or fails for good.
func retry(ctx context.Context, f func() error) error {
	for fails := 1; ; fails++ {
		err := f()
		if err == nil || !transient(err) {
			return err
		}
		if err := sleep(ctx, backoff(fails)); err != nil {
			return err
		}
	}
}

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return nil
	}
}
