package classify

import (
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// timeCall is a function of the transaction's time, where it stands in a text.
type timeCall struct {
	at        int
	typ       string
	precision int32 // -1 for none
}

// timeCalls finds the functions of the transaction's time in a statement.
func timeCalls(stmt *pg.Node) []timeCall {
	var list []timeCall
	_ = walk(stmt, func(m proto.Message) (bool, error) { // visit makes no errors
		switch f := m.(type) {
		case *pg.FuncCall:
			if isTransactionTime(f) {
				list = append(list, timeCall{int(f.Location), "timestamptz", -1})
			}
		case *pg.SQLValueFunction:
			if typ := timeType(f); typ != "" {
				list = append(list, timeCall{int(f.Location), typ, precision(f)})
			}
		}
		return true, nil
	})
	return list
}

// spliceTime writes the pinned time, parameter number, in place of the functions
// of the transaction's time, and leaves every other byte of text as it is. ok is
// false where the text does not look as expected; deparse has to do it then.
func spliceTime(text string, calls []timeCall, number int) (out string, ok bool) {
	scan, err := pg.Scan(text)
	if err != nil {
		return "", false
	}
	slices.SortFunc(calls, func(a, b timeCall) int { return a.at - b.at })
	var b strings.Builder
	done := 0
	for _, c := range calls {
		end := endOfCall(text, scan.Tokens, c)
		if end < 0 || c.at < done {
			return "", false
		}
		b.WriteString(text[done:c.at])
		pinned := "$" + strconv.Itoa(number) + "::pg_catalog.timestamptz"
		if c.typ != "timestamptz" || c.precision >= 0 {
			pinned = "(" + pinned + ")::pg_catalog." + c.typ
		}
		if c.precision >= 0 {
			pinned += "(" + strconv.Itoa(int(c.precision)) + ")"
		}
		b.WriteString("(" + pinned + ")")
		done = end
	}
	b.WriteString(text[done:])
	return b.String(), true
}

// endOfCall is where a call ends: behind now(), CURRENT_TIMESTAMP or
// CURRENT_TIMESTAMP(3); -1 for anything else.
func endOfCall(text string, tokens []*pg.ScanToken, c timeCall) int {
	i := slices.IndexFunc(tokens, func(t *pg.ScanToken) bool { return int(t.Start) == c.at })
	if i < 0 {
		return -1
	}
	word := func(k int) string {
		if k >= len(tokens) {
			return ""
		}
		return strings.ToLower(text[tokens[k].Start:tokens[k].End])
	}
	switch first := word(i); {
	case first == "pg_catalog" && word(i+1) == ".":
		i += 2
		fallthrough
	case first == "now" || first == "transaction_timestamp":
		if w := word(i); w != "now" && w != "transaction_timestamp" || word(i+1) != "(" || word(i+2) != ")" {
			return -1
		}
		return int(tokens[i+2].End)
	case strings.HasPrefix(first, "current_") || strings.HasPrefix(first, "local"):
		if c.precision < 0 {
			return int(tokens[i].End)
		}
		if word(i+1) != "(" || word(i+2) != strconv.Itoa(int(c.precision)) || word(i+3) != ")" {
			return -1
		}
		return int(tokens[i+3].End)
	}
	return -1
}
