package ops

import (
	"context"
	"slices"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

// suspects lists the epochs whose last transactions may be missing: for a
// worker's file on its target, otherwise on any.
func (r *statusReader) suspects(ctx context.Context) {
	for _, h := range sortedBeats(r.beats) {
		if h.Role != topics.RoleAgent || !r.concerns(h) {
			continue
		}
		for _, e := range h.Suspect {
			s := suspectEpoch{Source: h.Source, Agent: e.Agent, Epoch: e.Epoch}
			if !slices.Contains(r.out.Suspect, s) {
				r.out.Suspect = append(r.out.Suspect, s)
			}
		}
	}
	if len(r.out.Suspect) == 0 {
		return
	}
	origins := r.origins(ctx)
	r.out.Suspect = slices.DeleteFunc(r.out.Suspect, func(s suspectEpoch) bool { return r.filledSince(ctx, s, origins) })
}

// origins are the offsets from which on a worker's target reads its sources; none
// where the file is another's.
func (r *statusReader) origins(ctx context.Context) map[string]apply.Position {
	w := r.file.Worker
	if w == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	positions, err := apply.ReadPosition(ctx, w.DSN)
	if err != nil {
		return nil // diverged reports that the target cannot be read
	}
	return positions
}

// filledSince tells whether a target was filled after an epoch had ended: then it
// has what the primary had, whether the topic has it or not. Agents answer the
// Mark of a snapshot, so the first record of the epoch's agent from there on tells
// whether the epoch was over, or a FENCE that makes it suspect only then.
func (r *statusReader) filledSince(ctx context.Context, s suspectEpoch, origins map[string]apply.Position) bool {
	p, ok := origins[s.Source]
	if !ok || p.Origin <= s.Epoch {
		return false
	}
	b, err := r.bounds(ctx, s.Source)
	if err != nil || p.Topic != b.id || p.Origin < b.start {
		return false
	}
	over := true
	err = r.each(ctx, s.Source, p.Origin, b.end, func(_ topics.Message, rec *event.Record) error {
		if f, ok := rec.Body.(*event.Fence); ok && slices.Contains(f.Suspect, event.EpochRef{Agent: s.Agent, Epoch: s.Epoch}) {
			over = false
			return errStop
		}
		if rec.Agent != s.Agent {
			return nil // under gate recorded others work beside it
		}
		opens := rec.N == 0
		over = opens || rec.Epoch != s.Epoch
		return errStop
	})
	return err == nil && over
}
