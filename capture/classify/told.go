package classify

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// tellsCommand begins the frame of a stack that quotes the command which runs.
const tellsCommand = `SQL statement "`

// frames are what the frame behind a command may begin with: of what ran it.
var frames = []string{"\nPL/", "\nSQL statement \"", "\nSQL function \"", "\nSQL expression \""}

// Told finds the text of the command that a server's stack (PG_CONTEXT, in English)
// begins with; tag is the command's tag. Nothing in the text is escaped there, so it
// may look like the frames behind it: it is told only where one reading alone is a
// single command with that tag.
func Told(stack, tag string) (text string, ok bool) {
	rest, ok := strings.CutPrefix(stack, tellsCommand)
	if !ok {
		return "", false // a function in SQL does not quote what it runs
	}
	found := 0
	for i := range len(rest) {
		if rest[i] == '"' && endsFrame(rest[i+1:]) && isCommand(rest[:i], tag) {
			text = rest[:i]
			found++
		}
	}
	return text, found == 1
}

func endsFrame(behind string) bool {
	return behind == "" || slices.ContainsFunc(frames, func(f string) bool { return strings.HasPrefix(behind, f) })
}

// asides are words of commands that their tags leave out.
var asides = words("OR REPLACE UNLOGGED UNIQUE TEMP TEMPORARY LOCAL GLOBAL RECURSIVE CONSTRAINT TRUSTED PROCEDURAL")

// isCommand tells whether a text is a single command, whose tag is tag.
func isCommand(text, tag string) bool {
	tree, err := parse(text)
	if err != nil || len(tree.Stmts) != 1 {
		return false
	}
	scan, err := pg.Scan(text)
	if err != nil {
		return false
	}
	want := strings.Fields(tag)
	for _, t := range scan.Tokens {
		if len(want) == 0 {
			break
		}
		if t.Token == pg.Token_SQL_COMMENT || t.Token == pg.Token_C_COMMENT {
			continue
		}
		switch word := strings.ToUpper(text[t.Start:t.End]); {
		case word == want[0]:
			want = want[1:]
		case !asides[word]:
			return false
		}
	}
	return len(want) == 0
}
