package classify

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Unparsable stands for a text that no parser knows, so that nothing of it can be
// told from a constant.
const Unparsable = "(unparsable statement)"

// Anonymise is Normalise for texts that are shown to others than the application's
// people: it leaves no constant, which Normalise does in DDL, COPY and EXECUTE, and
// no comment. A constant that has no number is "…". The text
// is on one line and without a semicolon at its end.
func Anonymise(sql string) string {
	text, err := pg.Normalize(sql)
	if err != nil {
		return Unparsable
	}
	scanned, err := pg.Scan(text)
	if err != nil {
		return Unparsable
	}
	var b strings.Builder
	end := 0 // of the token before
	for _, t := range scanned.Tokens {
		if t.Token == pg.Token_C_COMMENT || t.Token == pg.Token_SQL_COMMENT {
			continue
		}
		if b.Len() > 0 && int(t.Start) > end {
			b.WriteByte(' ')
		}
		end = int(t.End)
		switch t.Token {
		case pg.Token_SCONST, pg.Token_USCONST, pg.Token_BCONST, pg.Token_XCONST, pg.Token_ICONST, pg.Token_FCONST:
			b.WriteString("…")
		default:
			b.WriteString(text[t.Start:t.End])
		}
	}
	return strings.TrimRight(b.String(), "; ")
}
