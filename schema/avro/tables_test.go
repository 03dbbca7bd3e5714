package avro

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opmux/opmux/event"
)

func TestTables(t *testing.T) {
	seen := map[string]bool{}
	for code, reason := range published.Reasons {
		text := strings.ReplaceAll(reason, placeholder, "name")
		got, name, ok := published.code(text)
		if back, err := published.reason(got, name); !ok || got != code || err != nil || back != text || seen[reason] {
			t.Errorf("reason %d, %q: code %d, name %q, back %q, %v", code, text, got, name, back, err)
		}
		seen[reason] = true
	}
	if n := len(published.Phrases); n > len(phraseCodes()) {
		t.Errorf("%d phrases, and only %d bytes can stand for one", n, len(phraseCodes()))
	}
	for i, phrase := range published.Phrases {
		packed := published.phrases.pack(nil, phrase)
		if len(packed) != 1 || packed[0] != phraseCodes()[i] {
			t.Errorf("phrase %q is packed as %x", phrase, packed)
		}
	}
	for _, s := range published.Baselines[usualBaseline] {
		if len(s) < 2 || seen[s[0]] {
			t.Errorf("baseline: %v has no value, or comes twice", s)
		}
		seen[s[0]] = true
	}
}

// The reasons that capture writes into operations as constants have codes. The
// classifier's come from plans, and are checked by its own tests.
func TestConstantReasonsHaveCodes(t *testing.T) {
	paths, err := filepath.Glob("../../capture/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			for _, reason := range constantReasons(n) {
				found++
				if !Coded(reason) {
					t.Errorf("%s: an operation has the reason %q, which has no code", path, reason)
				}
			}
			return true
		})
	}
	if found < 4 {
		t.Errorf("only %d constant reasons were found in %d files", found, len(paths))
	}
}

// constantReasons are those of an event.Operation, or of a list of them.
func constantReasons(n ast.Node) (reasons []string) {
	lit, ok := n.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	if list, ok := lit.Type.(*ast.ArrayType); ok {
		if isOperation(list.Elt) {
			for _, e := range lit.Elts {
				reasons = append(reasons, reasonOf(e)...)
			}
		}
		return reasons
	}
	if isOperation(lit.Type) {
		return reasonOf(lit)
	}
	return nil
}

func isOperation(e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "Operation"
}

func reasonOf(e ast.Expr) []string {
	lit, ok := e.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		key, _ := kv.Key.(*ast.Ident)
		value, constant := kv.Value.(*ast.BasicLit)
		if key != nil && key.Name == "Reason" && constant {
			text, err := strconv.Unquote(value.Value)
			if err != nil {
				panic(err)
			}
			return []string{text}
		}
	}
	return nil
}

// What a table does not have was written by a newer program, or is damaged.
func TestNumbersThatNoTableHas(t *testing.T) {
	context := func(number int64, changes func(w *writer)) func(*writer) {
		return func(w *writer) {
			w.string("u")
			w.string("a")
			w.long(number)
			changes(w)
		}
	}
	change := func(same, branch int64, more ...int64) func(*writer) {
		return func(w *writer) {
			w.long(1)
			for _, v := range append([]int64{same, branch}, more...) {
				w.long(v)
			}
			w.long(0)
		}
	}
	readOne := func(r *reader) { readContext(r, &event.Context{}) }
	cases := map[string]struct {
		write func(*writer)
		read  func(*reader)
	}{
		"baseline":        {context(2, func(w *writer) { w.long(0) }), readOne},
		"usual value":     {context(1, change(0, nextOther, 99)), readOne},
		"negative value":  {context(1, change(0, nextOther, -1)), readOne},
		"too much kept":   {context(1, change(26, nextAbsent)), readOne},
		"less than none":  {context(1, change(-1, nextAbsent)), readOne},
		"behind the last": {context(1, change(25, nextAbsent)), readOne},
		"unknown change":  {context(1, change(0, 4)), readOne},
		"reason":          {func(w *writer) { w.long(reasonCode); w.long(999) }, func(r *reader) { readReason(r) }},
		"negative reason": {func(w *writer) { w.long(reasonCode); w.long(-1) }, func(r *reader) { readReason(r) }},
		"name of none":    {func(w *writer) { w.long(reasonCode); w.long(3) }, func(r *reader) { readReason(r) }},
		"name too many":   {func(w *writer) { w.long(reasonAbout); w.long(1); w.string("x") }, func(r *reader) { readReason(r) }},
		"text":            {func(w *writer) { w.bytes([]byte("a\xE2\x82")) }, func(r *reader) { r.packed() }},
		"table's place": {func(w *writer) { w.long(1); w.long(tablePublic); w.long(5); w.long(0) },
			func(r *reader) { readTables(r, "text") }},
	}
	for name, c := range cases {
		w := writer{}
		c.write(&w)
		w.bytes(make([]byte, 100)) // what follows in a record
		r := reader{b: w.b, contexts: &contexts{}}
		if c.read(&r); r.err == nil {
			t.Errorf("%s: is taken", name)
		}
		if len(r.contexts.known) > 0 {
			t.Errorf("%s: is remembered", name)
		}
	}
}

func TestContextsAreSharedAndBounded(t *testing.T) {
	c := New()
	decode := func(application string) []event.Setting {
		r := tpcb()
		tx := r.Body.(*event.Transaction)
		tx.Context.Application = application
		value, err := c.EncodeRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.DecodeRecord(value)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got.Body, r.Body)
		}
		return got.Body.(*event.Transaction).Context.Settings
	}
	first, second := decode("pgbench"), decode("pgbench")
	if &first[0] != &second[0] {
		t.Error("two transactions of one context have settings of their own")
	}
	if cap(first) != len(first) {
		t.Error("who appends to the settings of one transaction writes into another's")
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range maxContexts {
				decode(fmt.Sprint("app ", i))
			}
		})
	}
	group.Wait()
	decode(strings.Repeat("long", maxContextBytes))
	if n := len(c.contexts.known); n == 0 || n > maxContexts {
		t.Errorf("%d contexts are remembered", n)
	}
	for raw := range c.contexts.known {
		if len(raw) > maxContextBytes {
			t.Errorf("a context of %d bytes is remembered", len(raw))
		}
	}
}
