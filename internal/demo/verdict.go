package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/opmux/opmux/internal/rig"
)

// verdict waits until the backup has everything, compares all tables and all
// verdicts, and says what came of it.
func (d *demo) verdict(ctx context.Context) (good bool, err error) {
	began := time.Now()
	if err := d.rig.Wait(ctx, catchUpTimeout); err != nil {
		return false, err
	}
	d.say("\n  the backup had everything %.1f s after the last commit; table by table:", time.Since(began).Seconds())
	diffs, err := d.rig.Compare(ctx)
	if err != nil {
		return false, err
	}
	for _, diff := range diffs {
		d.say("    %s", diff)
	}
	d.watcher.count(ctx, d.rig)
	want := d.watcher.primary * operationsPerTransaction
	verdicts, err := d.awaitVerdicts(ctx, want)
	if err != nil {
		return false, err
	}
	d.say("    verifier: %s operations compared: %s match, %s mismatch, %s missing, %s skipped",
		number(verdicts.Sum()), number(verdicts.Match), number(verdicts.Mismatch), number(verdicts.Missing), number(verdicts.Skipped))
	problem := judge(diffs, verdicts, want)
	if problem != "" {
		d.say("\nVERDICT: not good. %s", problem)
		return false, nil
	}
	d.say("\nVERDICT: good. %s transactions went through opmux at %s a second; the backup is\nidentical in every table, and every one of %s responses was the same on both sides.\n(%.0f s in all)",
		number(d.watcher.primary), number(int64(float64(d.watcher.primary)/d.Duration.Seconds())), number(verdicts.Match), time.Since(d.began).Seconds())
	return true, nil
}

// awaitVerdicts waits until the verifier has spoken of every operation; what it
// has not spoken of in time shows in the sum.
func (d *demo) awaitVerdicts(ctx context.Context, want int64) (rig.Verdicts, error) {
	deadline := time.Now().Add(catchUpTimeout)
	for {
		v, err := d.rig.Verdicts(ctx)
		if err != nil {
			return v, err
		}
		if v.Sum() >= want || time.Now().After(deadline) {
			return v, nil
		}
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// judge says what is wrong; "" where nothing is.
func judge(diffs []rig.TableDiff, v rig.Verdicts, want int64) string {
	for _, d := range diffs {
		if !d.Identical() {
			return "The backup differs: " + d.String()
		}
	}
	switch {
	case len(diffs) == 0:
		return "There was no table to compare."
	case v.Mismatch > 0:
		return fmt.Sprintf("%s responses were different on the backup; opmux tail and the verifier's log tell which.", number(v.Mismatch))
	case v.Missing > 0:
		return fmt.Sprintf("%s operations were never answered for by the backup.", number(v.Missing))
	case v.Sum() < want:
		return fmt.Sprintf("The verifier has spoken of %s operations only, of %s.", number(v.Sum()), number(want))
	}
	return ""
}
