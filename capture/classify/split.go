package classify

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"
)

// Statement is one statement of a text, without its semicolon.
type Statement struct {
	Text string
	// Offset is where Text begins, in bytes.
	Offset int
}

// SyntaxError says that a text could not be parsed.
type SyntaxError struct {
	Message string
	// Position is the 1-based character position, 0 if unknown.
	Position int
	// late says that servers, or some versions, find it no sooner than when the statement runs.
	late bool
}

// foundLate begins what the parser of PostgreSQL 16 says, and 15 as the statement runs.
const foundLate = "unrecognized partitioning strategy"

// Error implements error.
func (e *SyntaxError) Error() string { return e.Message }

// Split parses a text and cuts it into statements, none where there are only
// blanks and comments; *SyntaxError where it cannot be parsed.
func (c *Classifier) Split(sql string) ([]Statement, error) {
	if list, known := c.singles.split(sql); known {
		return list, nil
	}
	tree, err := parse(sql)
	if isLate(err) {
		if texts, split := pg.SplitWithScanner(sql, true); split == nil && len(texts) == 1 {
			text := strings.TrimLeft(texts[0], blanks)
			return []Statement{{Text: text, Offset: strings.Index(sql, text)}}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	switch len(tree.Stmts) {
	case 0:
		return nil, nil
	case 1:
		c.singles.keep(sql)
	}
	list := make([]Statement, len(tree.Stmts))
	for i, s := range tree.Stmts {
		from := int(s.StmtLocation)
		to := len(sql)
		if s.StmtLen > 0 {
			to = from + int(s.StmtLen)
		}
		text := strings.TrimLeft(sql[from:to], blanks)
		list[i] = Statement{Text: text, Offset: to - len(text)}
	}
	return list, nil
}

// isLate tells whether the server has to be asked to run a statement for it to say what is wrong.
func isLate(err error) bool {
	var syntax *SyntaxError
	return errors.As(err, &syntax) && syntax.late
}

func parse(sql string) (*pg.ParseResult, error) {
	if strings.IndexByte(sql, 0) >= 0 || !utf8.ValidString(sql) {
		return nil, &SyntaxError{Message: "invalid byte sequence for encoding \"UTF8\""}
	}
	tree, err := pg.Parse(sql)
	var pe *parser.Error
	switch {
	case errors.As(err, &pe):
		return nil, &SyntaxError{Message: pe.Message, Position: pe.Cursorpos, late: strings.HasPrefix(pe.Message, foundLate)}
	case err != nil:
		return nil, &SyntaxError{Message: fmt.Sprintf("the statement cannot be parsed: %v", err)}
	}
	return tree, nil
}
