package classify

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// ASCIINames says that a text has other than ASCII characters in constants and
// comments alone, so that which ones they are changes nothing of what it does.
func ASCIINames(text string) bool {
	scan, err := pg.Scan(text)
	if err != nil {
		return false
	}
	for _, t := range scan.Tokens {
		switch t.Token {
		case pg.Token_SCONST, pg.Token_USCONST, pg.Token_SQL_COMMENT, pg.Token_C_COMMENT:
			continue
		}
		for _, c := range []byte(text[t.Start:t.End]) {
			if c >= 0x80 {
				return false
			}
		}
	}
	return true
}
