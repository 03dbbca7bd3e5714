package verify

import (
	"encoding/hex"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/opmux/opmux/event"
)

const (
	// Of findings of one kind, logFirst are logged each second and then one in
	// logEvery: a target that is gone must not bury everything else.
	logFirst = 20
	logEvery = 1000
	// logFindings bounds the findings logged of one transaction; the verdict
	// record has them.
	logFindings = 10
)

// reporter tells people about verdicts.
type reporter struct {
	log     *zap.Logger // sampled
	metrics *metrics
	webhook *webhook // nil without one
}

func newReporter(log *zap.Logger, m *metrics, w *webhook) *reporter {
	sampled := log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, logFirst, logEvery,
			zapcore.SamplerHook(func(_ zapcore.Entry, d zapcore.SamplingDecision) {
				if d&zapcore.LogDropped != 0 {
					m.unlogged.Inc()
				}
			}))
	}))
	return &reporter{log: sampled, metrics: m, webhook: w}
}

func (r *reporter) report(v *event.VerdictRecord) {
	r.metrics.verdict(v)
	if r.webhook != nil {
		r.webhook.offer(v)
	}
	shown := 0
	for i := range v.Findings {
		if shown == logFindings {
			break
		}
		f := &v.Findings[i]
		level, message := zapcore.DebugLevel, "skipped: not verified"
		switch f.Verdict {
		case event.VerdictMismatch:
			level, message = zapcore.ErrorLevel, "mismatch: primary and backup differ"
		case event.VerdictMissing:
			level, message = zapcore.WarnLevel, "missing: one side has no digest"
		}
		entry := r.log.Check(level, message)
		if entry == nil {
			continue
		}
		shown++
		entry.Write(
			zap.String("source", v.Source), zap.String("target", v.Target), zap.Int64("offset", v.Offset),
			zap.Int32("operation", f.Index), zap.String("reason", f.Reason), zap.String("statement", f.Statement),
			zap.Object("primary", side(f.Primary)), zap.Object("backup", side(f.Backup)),
		)
	}
}

// side is one side's digest in the log.
type side event.Digest

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (s side) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	if s.SQLState == "" {
		return nil // this side has none
	}
	enc.AddString("sqlstate", s.SQLState)
	enc.AddInt64("affected", s.Affected)
	if len(s.Hash) > 0 {
		enc.AddString("hash", hex.EncodeToString(s.Hash))
	}
	return nil
}
