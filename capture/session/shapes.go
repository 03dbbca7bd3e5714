package session

import (
	"slices"
	"strings"
	"sync"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// maxShapes bounds the tables whose shapes are remembered (I7).
const maxShapes = 10_000

// shapes remembers which shapes of tables are published, so that each is once, and
// again when it changes. DDL that went past every agent shows there: a worker
// stops where its target lacks a column.
type shapes struct {
	mu sync.RWMutex
	// said are the published shapes in one word by table; known are answers of the
	// catalogue that were compared with them already.
	said  map[string]string
	known map[*catalog.Table]struct{}
}

func newShapes() *shapes {
	return &shapes{said: map[string]string{}, known: map[*catalog.Table]struct{}{}}
}

// unpublished lists the shapes that a transaction has to carry. One that changes
// the catalogue itself carries none: what it wrote may have had another shape.
func (s *shapes) unpublished(tx *txn) []event.TableShape {
	if tx.ownDDL {
		return nil
	}
	return shapesOf(tx, s.changed)
}

// all lists the shapes of all tables that a transaction writes.
func (s *shapes) all(tx *txn) []event.TableShape {
	return shapesOf(tx, func(p *classify.Plan, t *catalog.Table) (event.TableShape, bool) { return shapeOf(t), writes(p, t) })
}

// shapesOf lists what of says of a transaction's tables, each once.
func shapesOf(tx *txn, of func(*classify.Plan, *catalog.Table) (event.TableShape, bool)) []event.TableShape {
	var out []event.TableShape
	for p := range tx.plans {
		if p.Kind == classify.Refused {
			continue // its tables leave the source, whatever their shape
		}
		for _, t := range p.TableRefs {
			if shape, ok := of(p, t); ok && !slices.ContainsFunc(out, func(o event.TableShape) bool { return o.Schema == t.Schema && o.Table == t.Name }) {
				out = append(out, shape)
			}
		}
	}
	return out
}

// changed returns the shape of a table that a plan writes, where it is not
// published yet.
func (s *shapes) changed(p *classify.Plan, t *catalog.Table) (event.TableShape, bool) {
	s.mu.RLock()
	_, known := s.known[t]
	s.mu.RUnlock()
	if known || !writes(p, t) {
		return event.TableShape{}, false
	}
	shape := shapeOf(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.said[t.Qualified()] != inOneWord(&shape) {
		return shape, true
	}
	if len(s.known) >= maxShapes {
		clear(s.known)
	}
	s.known[t] = struct{}{}
	return event.TableShape{}, false
}

// writes tells whether a plan writes a table that targets have.
func writes(p *classify.Plan, t *catalog.Table) bool {
	return !t.Temp && slices.Contains(p.Tables, t.Qualified())
}

func shapeOf(t *catalog.Table) event.TableShape {
	shape := event.TableShape{Schema: t.Schema, Table: t.Name, Definition: t.Definition}
	for i := range t.Columns {
		shape.Columns = append(shape.Columns, t.Columns[i].Name)
	}
	return shape
}

// inOneWord is equal for equal shapes.
func inOneWord(shape *event.TableShape) string {
	var b strings.Builder
	for _, c := range shape.Columns {
		b.WriteString(c)
		b.WriteByte(0)
	}
	for _, p := range shape.Definition {
		b.WriteString(p.Name)
		b.WriteByte(0)
		b.WriteString(p.Text)
		b.WriteByte(0)
	}
	return b.String()
}

// published notes what a transaction that has committed carried.
func (s *shapes) published(list []event.TableShape) {
	if len(list) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.known)
	if len(s.said)+len(list) > maxShapes {
		clear(s.said)
	}
	for _, shape := range list {
		s.said[shape.Schema+"."+shape.Table] = inOneWord(&shape)
	}
}
