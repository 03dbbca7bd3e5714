package execute

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/shape"
)

// ShapeFunc says what a statement does to one row; lifted is what became of sql,
// which has params parameters, without its literals.
type ShapeFunc func(sql string, params int, lifted *shape.Lifted) (*shape.Statement, error)

const (
	// maxShapes bounds the shapes that a lane remembers (I7).
	maxShapes = 1_000
	// worthShape is how often a shape comes before it is looked up.
	worthShape = 3
	// maxSetImages bounds the rows of an operation whose rows join sets.
	maxSetImages = 100
)

// shapes are the shapes of a connection.
type shapes struct {
	byKey  map[string]*setShape
	lifted shape.Lifted
	space  []byte // of literals
}

func newShapes() *shapes { return &shapes{byKey: map[string]*setShape{}} }

// keep copies a literal's value.
func (s *shapes) keep(v []byte) []byte {
	const block = 64 << 10
	if s.space == nil || len(v) > cap(s.space)-len(s.space) { // what is empty is not nil, a NULL
		s.space = make([]byte, 0, max(block, len(v)))
	}
	from := len(s.space)
	s.space = append(s.space, v...)
	return s.space[from:len(s.space):len(s.space)]
}

// ofStatement returns the shape of a statement and its row, none where it is no set.
func (s *sets) ofStatement(op *event.Operation) (*setShape, []*member, error) {
	if len(op.Text) > maxKeptBytes {
		return nil, nil, nil
	}
	oids := make([]uint32, len(op.Params), len(op.Params)+4)
	for i := range op.Params {
		oid, err := s.typeOf(&op.Params[i])
		if err != nil {
			return nil, nil, nil //nolint:nilerr // sent on its own, it fails by that
		}
		oids[i] = oid
	}
	sh := s.shapes.byKey[string(s.keyOf(op.Text, op.Params, oids, nil))]
	var literals []shape.Literal
	if sh == nil || sh.seen < worthShape {
		lifted := &s.shapes.lifted
		if !lifted.Lift(op.Text, len(op.Params)) {
			return nil, nil, nil
		}
		literals = lifted.Literals
		for _, l := range literals {
			oids = append(oids, typeOfLiteral(l.Class))
		}
		var err error
		if sh, err = s.shape(op, oids, lifted); err != nil {
			return nil, nil, err
		}
	}
	if sh.why != "" {
		return nil, nil, nil
	}
	values := make([][]byte, 0, len(op.Params)+len(literals))
	for i := range op.Params {
		values = append(values, param(event.Value{Null: op.Params[i].Null, Text: op.Params[i].Value}))
	}
	for _, l := range literals {
		values = append(values, s.shapes.keep(l.Value))
	}
	m := sh.member(values)
	if m == nil {
		return nil, nil, nil
	}
	return sh, []*member{m}, nil
}

func typeOfLiteral(c shape.Class) uint32 {
	switch c.Unsigned() {
	case shape.Int:
		return oidInt4
	case shape.Long:
		return oidInt8
	case shape.Numeric:
		return oidNumeric
	}
	return 0
}

// keyOf is the key of a shape: the settings under which texts are read, the types
// and forms of parameters, the classes of literals, and the text without them.
func (s *sets) keyOf(text string, params []event.Param, oids []uint32, literals []shape.Literal) []byte {
	b := s.key[:0]
	b = append(b, s.settings.id...)
	b = append(b, 0)
	for i := range params {
		b = binary.BigEndian.AppendUint32(b, oids[i])
		if params[i].Binary {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	b = append(b, 0xff)
	for _, l := range literals {
		b = append(b, byte(l.Class))
	}
	b = append(b, 0)
	b = append(b, text...)
	s.key = b
	return b
}

// shape returns the shape of a lifted statement, looked up once it is worth that.
func (s *sets) shape(op *event.Operation, oids []uint32, lifted *shape.Lifted) (*setShape, error) {
	template := string(lifted.Template)
	key := string(s.keyOf(template, op.Params, oids, lifted.Literals))
	sh := s.shapes.byKey[key]
	if sh == nil {
		if len(s.shapes.byKey) >= maxShapes {
			clear(s.shapes.byKey)
		}
		sh = &setShape{why: "it has not come often", template: template, context: s.settings.id, declared: slices.Clone(oids), formats: make([]int16, len(oids))}
		for i := range op.Params {
			if op.Params[i].Binary {
				sh.formats[i] = 1
			}
		}
		s.shapes.byKey[key] = sh
	}
	sh.seen++
	if sh.seen != worthShape {
		return sh, nil
	}
	statement, why := s.cfg.Shape(op.Text, len(op.Params), lifted)
	if why != nil {
		sh.why = why.Error()
		return sh, nil //nolint:nilerr // a statement without a shape is no failure
	}
	sh.Statement = statement
	return sh, s.learn(sh)
}

// learn asks the target about a shape.
func (s *sets) learn(sh *setShape) error {
	s.used = true // a refusal is not the operation's
	if err := s.pipe.describe(sh.template, sh.declared, func(types []uint32) { sh.types = types }); err != nil {
		return err
	}
	table, err := s.lookUp(sh.Relation)
	if err != nil {
		return err
	}
	if len(sh.types) == 0 || len(sh.types) != len(sh.declared) {
		sh.why = "it has no parameters, or some that are not used"
		return nil
	}
	if sh.arrays, err = s.arrayTypes(sh.types); err != nil {
		return err
	}
	if slices.Contains(sh.arrays, 0) {
		sh.why = "a parameter's type has no arrays, or is one that users made"
		return nil
	}
	sh.settle(table)
	return nil
}

// arraysSQL asks for the types of arrays of types. Where array_nulls is off, there is
// no way to write a NULL in one.
const arraysSQL = `SELECT CASE WHEN pg_catalog.current_setting('array_nulls')::bool AND t.oid < 16384 AND t.typtype = 'b' AND t.typcategory <> 'A' AND t.typdelim = ',' THEN t.typarray ELSE 0 END
FROM pg_catalog.unnest(pg_catalog.string_to_array($1, ' ')::pg_catalog.oid[]) WITH ORDINALITY u (oid, n) LEFT JOIN pg_catalog.pg_type t ON t.oid = u.oid ORDER BY u.n`

// arrayTypes returns the types of arrays of types, 0 where there are none.
func (s *sets) arrayTypes(types []uint32) ([]uint32, error) {
	words := make([]string, len(types))
	for i, t := range types {
		words[i] = strconv.FormatUint(uint64(t), 10)
	}
	var arrays []uint32
	err := s.pipe.query(arraysSQL, [][]byte{[]byte(strings.Join(words, " "))}, []uint32{oidText}, nil, request{row: func(v []event.Value) {
		arrays = append(arrays, parseOID(v[0]))
	}})
	if err == nil {
		err = s.pipe.drain()
	}
	return arrays, err
}

// describe asks for the types of a statement's parameters.
func (p *pipe) describe(sql string, oids []uint32, types func([]uint32)) error {
	const name = "opmux_shape"
	p.line.SendPrepare(name, sql, oids)
	p.unread = append(p.unread, request{described: func(d *pgconn.StatementDescription) { types(d.ParamOIDs) }})
	p.line.SendDeallocate(name)
	p.unread = append(p.unread, request{})
	return p.drain()
}

// member makes a row of its parameters, nil where its key cannot be compared.
func (s *setShape) member(values [][]byte) *member {
	m := &member{values: values}
	if s.foldable && !s.addable(values) {
		return nil
	}
	for i := range s.keys {
		key := s.keys[i].value(s, values)
		if key == "" && s.Action != event.ActionInsert {
			return nil
		}
		m.keys = append(m.keys, key)
	}
	return m
}

// addable says that what is to be added can be written another way.
func (s *setShape) addable(values [][]byte) bool {
	for i := range s.Set {
		item := &s.Set[i]
		at := item.Param - 1
		if item.Kind == shape.Value || values[at] == nil || item.Kind == shape.Plus && !s.binaryOf(at) {
			continue
		}
		if _, ok := s.begin(item, values[at]); !ok {
			return false
		}
	}
	return true
}

// value is the canonical form of a key, "" where it has none.
func (k *setKey) value(s *setShape, values [][]byte) string {
	var buf [64]byte
	out := buf[:0]
	for i, at := range k.params {
		if values[at] == nil {
			return ""
		}
		var ok bool
		if out, ok = canonical(out, k.families[i], s.binaryOf(at), values[at]); !ok {
			return ""
		}
	}
	return string(out)
}
