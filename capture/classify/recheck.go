package classify

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/opmux/opmux/capture/catalog"
)

// Recheck classifies a plan's statement again, after the catalogue has moved, and
// says what differs; "" where the plan still holds. The caller then rolls back:
// what ran need not be what the plan says (DESIGN §4.2). q as in Input.
func (c *Classifier) Recheck(ctx context.Context, p *Plan, q catalog.Querier) (string, error) {
	if !p.Rests() {
		return "", nil
	}
	_, what, err := c.recheck(ctx, p.in, p.says(), q)
	return what, err
}

// Differs is Recheck for a statement that has run, and whose transaction still holds its locks: where only its tables
// were altered, and it and its record are the same nevertheless, the plan holds, too.
func (c *Classifier) Differs(ctx context.Context, p *Plan) (string, error) {
	if !p.Rests() {
		return "", nil
	}
	now, what, err := c.recheck(ctx, p.in, p.says(), nil)
	if what != "" && p.actsLike(now) && p.sameShapes(now) {
		what = ""
	}
	return what, err
}

// Undone is Recheck for a statement that was rolled back, and whose locks are gone, but which runs on targets before it is undone
// there: its rows must be possible behind what has become of its tables.
func (c *Classifier) Undone(ctx context.Context, p *Plan) (string, error) {
	if !p.Rests() {
		return "", nil
	}
	now, what, err := c.recheck(ctx, p.in, p.says(), nil)
	if what != "" || err != nil {
		return what, err
	}
	for i, t := range p.TableRefs {
		if t.Bounds != now.TableRefs[i].Bounds {
			return t.Qualified() + " has other constraints", nil
		}
	}
	return "", nil
}

// Renew is the plan of a statement that has run, as it would be made now, where all that the statement did and
// all that is published of it is the same by both; else p itself. What the record says of tables is
// by what they have become then.
func (c *Classifier) Renew(ctx context.Context, p *Plan) (*Plan, error) {
	if !p.Rests() {
		return p, nil
	}
	now, what, err := c.recheck(ctx, p.in, p.says(), nil)
	if err != nil || what != "" && !p.actsLike(now) {
		return p, err
	}
	renewed := *now // which may be another statement's of the transaction, too
	return &renewed, nil
}

func (c *Classifier) recheck(ctx context.Context, in Input, said saying, q catalog.Querier) (*Plan, string, error) {
	in.Querier = q
	now, err := c.Classify(ctx, in)
	if err != nil {
		return nil, "", err
	}
	return now, said.differs(now.says()), nil
}

// actsLike tells whether a statement that ran by p, and holds the locks of its tables, did just what now says,
// though its tables have been altered: what the plans say of it is the same, and what of the tables
// is not (ADR 41) was altered before the statement locked them.
func (p *Plan) actsLike(now *Plan) bool {
	same := slices.EqualFunc(p.TableRefs, now.TableRefs, func(a, b *catalog.Table) bool {
		return !catalog.Relabelled(a.Labels, b.Labels) && (a.Fingerprint() == b.Fingerprint() || a.AlteredBefore(b))
	})
	return same && p.Kind != Refused && reflect.DeepEqual(p.ofItself(), now.ofItself())
}

// ofItself is a plan without what it was made of.
func (p *Plan) ofItself() *Plan {
	if p == nil {
		return nil
	}
	q := *p
	q.CatalogVersion, q.TableRefs, q.in = 0, nil, Input{}
	q.Inner, q.Awake = p.Inner.ofItself(), p.Awake.ofItself()
	q.Parts = slices.Clone(p.Parts)
	for i := range q.Parts {
		q.Parts[i].Plan = q.Parts[i].ofItself()
	}
	return &q
}

func (p *Plan) sameShapes(now *Plan) bool {
	return slices.EqualFunc(p.TableRefs, now.TableRefs, (*catalog.Table).SameShape)
}

// Rests tells whether a plan rests on the catalogue: what capture triggers carry does
// not, those see whatever the statement does.
func (p *Plan) Rests() bool { return p.in.SQL != "" && !p.ByTriggers }

// saying is what a plan says that must still hold at the commit.
type saying struct {
	Construct, Kind, Class string
	Texts                  []string
	Tables                 []string
	Sequences              []SequenceRef
	Draws                  string
	Refs, Fingerprints     []string
	Labels                 []map[string]string // of the tables' enums
}

func (p *Plan) says() saying {
	s := saying{Construct: p.Construct, Kind: p.Kind.String(), Class: string(p.Class), Tables: p.Tables, Sequences: p.Sequences,
		Texts: []string{p.SQL, p.frozen.text, fmt.Sprint(p.frozen.params), fmt.Sprint(p.frozen.timeAt)}}
	if p.CopyDraw != nil {
		s.Draws = p.CopyDraw.draws
	}
	for _, t := range p.TableRefs {
		s.Refs, s.Fingerprints = append(s.Refs, t.Qualified()), append(s.Fingerprints, t.Fingerprint())
		s.Labels = append(s.Labels, t.Labels)
	}
	return s
}

// differs names the first difference of what two plans of one statement say.
func (s saying) differs(now saying) string {
	switch {
	case s.Kind != now.Kind || s.Class != now.Class:
		return fmt.Sprintf("%s was classified as %s %s and now is %s %s", s.Construct, s.Kind, s.Class, now.Kind, now.Class)
	case !slices.Equal(s.Texts, now.Texts):
		return "its columns have changed"
	case !slices.Equal(s.Tables, now.Tables):
		return fmt.Sprintf("it writes %v instead of %v", now.Tables, s.Tables)
	case !slices.Equal(s.Sequences, now.Sequences):
		return "it draws from other sequences"
	case s.Draws != now.Draws:
		return "other defaults are drawn"
	case len(s.Refs) != len(now.Refs):
		return "it touches other tables"
	}
	for i, name := range s.Refs {
		if s.Fingerprints[i] != now.Fingerprints[i] {
			return name + " was altered"
		}
		// What an older build has written down for PREPARE TRANSACTION has none.
		if i < len(s.Labels) && catalog.Relabelled(s.Labels[i], now.Labels[i]) {
			return "a label of an enum of " + name + " was renamed"
		}
	}
	return ""
}

// promise is a plan for a process that comes later.
type promise struct {
	In   Input
	Says saying
}

// Promises writes down what plans rest on, so that a later process finds out by
// Broken whether it still holds.
func Promises(plans []*Plan) ([]byte, error) {
	var list []promise
	for _, p := range plans {
		if p.Rests() {
			list = append(list, promise{p.in, p.says()})
		}
	}
	return json.Marshal(list)
}

// Broken names the first promise that does not hold any more, "" where all do.
func (c *Classifier) Broken(ctx context.Context, promises []byte) (string, error) {
	var list []promise
	if err := json.Unmarshal(promises, &list); err != nil {
		return "", fmt.Errorf("reading what the transaction rests on: %w", err)
	}
	for _, p := range list {
		if _, what, err := c.recheck(ctx, p.In, p.Says, nil); what != "" || err != nil {
			return what, err
		}
	}
	return "", nil
}
