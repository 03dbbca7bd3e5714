package classify

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// What goes upstream in place of
//
//	WITH a AS (INSERT … RETURNING id) UPDATE …
//
// has a column of each part for each of its hidden ones:
//
//	WITH "opmux 1"(c1) AS (INSERT … RETURNING id, mark AS "opmux o", key AS "opmux h1", …), a(id) AS (SELECT c1 FROM "opmux 1"),
//	"opmux 0" AS (UPDATE … RETURNING key, …)
//	SELECT m.*, p1."opmux o", p1."opmux h1", … FROM "opmux 0" m FULL JOIN (SELECT … FROM "opmux 1" …) p1 ON false
//
// A full join ON false gives the rows of one side and those of the other, with NULLs for
// the rest, in the order in which each has them; types, modifiers and origins of the client's columns are
// what they were. The server runs the main statement first, and those in WITH that it did not
// read to their end from the last to the first. That stays: a part is read where the count
// of those before it is known.

// partName begins the names of parts.
const partName = "opmux "

// partMark marks the rows of a part. It has no constant that could be taken for one of
// the client's, and needs no right.
const partMark = "pg_catalog.pi()"

// withItem is where one of WITH stands in a text: its name, with columns, up to AS, and what is
// in its parentheses.
type withItem struct{ name, as, from, to int }

// withText is a text that begins with WITH; main is where the main statement does.
type withText struct {
	items []withItem
	main  int
}

// readWith finds the parts of a text.
func readWith(body string, with *pg.WithClause) (withText, error) {
	var t withText
	if strings.Contains(body, `"`+partName) {
		return t, errors.New("it has names that are opmux's own")
	}
	scan, err := pg.Scan(body)
	if err != nil {
		return t, fmt.Errorf("it cannot be scanned: %w", err)
	}
	tokens := slices.DeleteFunc(scan.Tokens, func(k *pg.ScanToken) bool {
		return k.Token == pg.Token_SQL_COMMENT || k.Token == pg.Token_C_COMMENT
	})
	r := &withReader{tokens: tokens}
	if r.next() != pg.Token_WITH && r.last() != pg.Token_WITH_LA {
		return t, errors.New("its WITH is not where it begins")
	}
	if with.Recursive {
		r.next()
	}
	for i, c := range with.Ctes {
		if c.GetCommonTableExpr().SearchClause != nil || c.GetCommonTableExpr().CycleClause != nil {
			return t, errors.New("it stands beside SEARCH or CYCLE")
		}
		item, ok := r.item()
		if !ok || i < len(with.Ctes)-1 && r.next() != pg.Token_ASCII_44 {
			return t, errors.New("its text is not what was expected")
		}
		t.items = append(t.items, item)
	}
	if r.at >= len(tokens) {
		return t, errors.New("nothing stands behind it")
	}
	t.main = int(tokens[r.at].Start)
	return t, nil
}

// withReader goes through the tokens of a WITH.
type withReader struct {
	tokens []*pg.ScanToken
	at     int
}

// next is the token that comes, NUL at the end.
func (r *withReader) next() pg.Token {
	if r.at++; r.at > len(r.tokens) {
		return pg.Token_NUL
	}
	return r.last()
}

func (r *withReader) last() pg.Token { return r.tokens[r.at-1].Token }

// item reads name (columns) AS [NOT] [MATERIALIZED] (…).
func (r *withReader) item() (w withItem, ok bool) {
	r.next()
	if r.at > len(r.tokens) {
		return w, false
	}
	w.name = int(r.tokens[r.at-1].Start)
	kind := r.next()
	if kind == pg.Token_ASCII_40 {
		if _, ok = r.closing(); !ok {
			return w, false
		}
		kind = r.next()
	}
	if kind != pg.Token_AS {
		return w, false
	}
	w.as = int(r.tokens[r.at-1].Start)
	for kind != pg.Token_ASCII_40 {
		if kind = r.next(); kind == pg.Token_NUL {
			return w, false
		}
	}
	w.from = int(r.tokens[r.at-1].End)
	w.to, ok = r.closing()
	return w, ok
}

// closing goes to the parenthesis that closes the one before, and tells where it stands.
func (r *withReader) closing() (int, bool) {
	for depth := 1; depth > 0; {
		switch r.next() {
		case pg.Token_ASCII_40:
			depth++
		case pg.Token_ASCII_41:
			depth--
		case pg.Token_NUL:
			return 0, false
		}
	}
	return int(r.tokens[r.at-1].Start), true
}

// edit puts text in place of del bytes of another.
type edit struct {
	at, del int
	text    string
}

// splice writes what goes upstream; order lists those that are carried, as they are to be published.
func (j *job) splice(t withText, list, order []*writing) {
	p := j.plan
	main := list[len(list)-1]
	p.tag, p.ClientColumns, p.InHex = main.tag, main.plan.ClientColumns, j.in.InHex
	tail := " m"
	columns := []string{"m.*"}
	at := map[*writing]int{}
	if main.tag != "SELECT" && !main.carried() {
		main.plan.hidden, p.Hidden = []string{j.mark()}, 1 // rows of a temporary table are counted
		if len(*returningOf(main.stmt)) == 0 {
			p.ClientColumns = -1
		}
	} else if main.carried() {
		p.Hidden = main.plan.Hidden
		p.HiddenTypes = main.plan.HiddenTypes
	}
	before := fmt.Sprintf(`(SELECT pg_catalog.count(*) FROM "%s0")`, partName)
	for i := len(list) - 2; i >= 0; i-- {
		w := list[i]
		if !w.carried() {
			continue
		}
		name, alias := partName+strconv.Itoa(w.cte+1), "p"+strconv.Itoa(w.cte+1)
		tail += fmt.Sprintf("\nFULL JOIN (SELECT p.* FROM %q p WHERE (%s) IS NOT NULL) %s ON false", name, before, alias)
		before += fmt.Sprintf(` OPERATOR(pg_catalog.+) (SELECT pg_catalog.count(*) FROM "%s")`, name)
		at[w] = p.Hidden + 1
		for k := range 1 + len(w.plan.hidden) {
			columns = append(columns, alias+"."+hiddenName(k))
		}
		p.Hidden += 1 + w.plan.Hidden
		p.HiddenTypes += "; " + w.plan.HiddenTypes
	}
	for _, w := range order {
		p.Parts = append(p.Parts, Part{Plan: w.plan, At: at[w], marked: w != main})
		w.plan.Sequences = nil // those of the whole are told once
	}
	edits := j.edits(t, list)
	edits = append(edits, edit{at: len(j.body), text: returningClause(main, main.plan.hidden) +
		"\n) SELECT " + strings.Join(columns, ", ") + ` FROM "` + partName + `0"` + tail})
	p.SQL, p.edits, p.edited = applyEdits(j.body, edits), edits, j.body
}

// edits are those within WITH, and in front of the main statement.
func (j *job) edits(t withText, list []*writing) []edit {
	var edits []edit
	for _, w := range list[:len(list)-1] {
		if !w.carried() {
			continue
		}
		item := t.items[w.cte]
		visible := make([]string, len(w.columns))
		for k := range visible {
			visible[k] = "c" + strconv.Itoa(k+1)
		}
		hidden := append([]string{j.mark()}, w.plan.hidden...)
		for k := range hidden {
			hidden[k] += " AS " + hiddenName(k)
		}
		name := fmt.Sprintf(`"%s%d"`, partName, w.cte+1)
		called := name + " "
		if len(visible) > 0 {
			called = name + "(" + strings.Join(visible, ", ") + ") "
		}
		edits = append(edits, edit{item.name, item.as - item.name, called}, edit{at: item.to, text: returningClause(w, hidden) + "\n"})
		if w.columns == nil {
			continue
		}
		edits = append(edits, edit{at: item.to + 1, text: fmt.Sprintf(", %s AS (SELECT %s FROM %s)", w.seenAs(), strings.Join(visible, ", "), name)})
	}
	return append(edits, edit{at: t.main, text: fmt.Sprintf(`, "%s0" AS (`, partName)})
}

// hiddenName is that of a part's mark (0) and of its hidden columns. They are told by these, not by
// their places: if the client's RETURNING has other columns than its text tells, that is an error
// or goes unseen, and never makes one value another.
func hiddenName(k int) string {
	if k == 0 {
		return `"` + partName + `o"`
	}
	return `"` + partName + "h" + strconv.Itoa(k) + `"`
}

// seenAs is the name by which the others know what the statement returns, with columns.
func (w *writing) seenAs() string {
	quoted := make([]string, len(w.columns))
	for i, n := range w.columns {
		quoted[i] = catalog.QuoteIdent(n)
	}
	return catalog.QuoteIdent(w.name) + "(" + strings.Join(quoted, ", ") + ")"
}

// mark is partMark as it is asked for.
func (j *job) mark() string {
	if j.in.InHex {
		return catalog.Hex(partMark)
	}
	return partMark
}

// returningClause asks for columns behind those that the client asks for.
func returningClause(w *writing, columns []string) string {
	if len(columns) == 0 {
		return ""
	}
	clause := "\nRETURNING "
	if len(*returningOf(w.stmt)) > 0 {
		clause = "\n, "
	}
	return clause + strings.Join(columns, ", ")
}

func applyEdits(text string, edits []edit) string {
	var b strings.Builder
	done := 0
	for _, e := range edits {
		b.WriteString(text[done:e.at])
		b.WriteString(e.text)
		done = e.at + e.del
	}
	b.WriteString(text[done:])
	return b.String()
}

// Rewritten says that SQL has the agent's text within the client's.
func (p *Plan) Rewritten() bool { return len(p.edits) > 0 }

// Original is the place in the client's text of one in Plan.SQL; both are counted in
// characters from 1, as PostgreSQL's errors count.
func (p *Plan) Original(place int) int {
	at := len(p.SQL) // in bytes
	n := 1
	for i := range p.SQL {
		if n == place {
			at = i
			break
		}
		n++
	}
	shift := 0 // of what is behind the edits so far
	for _, e := range p.edits {
		from := e.at + shift
		if at < from {
			break
		}
		if at < from+len(e.text) {
			at = from
			shift = from - e.at
			break
		}
		shift += len(e.text) - e.del
	}
	return 1 + utf8.RuneCountInString(p.edited[:max(0, min(at-shift, len(p.edited)))])
}
