package session

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

var errTaken = errors.New("opmux.take_6 answered in a form that this agent does not know; are agents of different versions on this source?")

func readTaken(values []pgwire.DataRowValue) (taken, error) {
	if len(values) != 11 {
		return taken{}, errTaken
	}
	text := func(i int) string { return string(values[i].Value) }
	row := taken{what: text(0), schema: text(1), table: text(2), rootSchema: text(3), root: text(4), note: text(5),
		was: text(8), became: text(9), command: text(10)}
	var err error
	for i, into := range []*[]byte{&row.before, &row.after} {
		if v := values[6+i]; !v.Null && err == nil {
			*into, err = hex.DecodeString(string(v.Value))
		}
	}
	if err != nil {
		return taken{}, fmt.Errorf("%w: %w", errTaken, err)
	}
	return row, nil
}

// recordValues reads a row as PostgreSQL prints a composite value (manual, 8.16.6):
// fields between commas, nothing for NULL, quotes and backslashes doubled in quotes.
func recordValues(text []byte) ([]event.Value, error) {
	if len(text) < 2 || text[0] != '(' || text[len(text)-1] != ')' {
		return nil, errTaken
	}
	text = text[1 : len(text)-1]
	var list []event.Value
	for {
		v, n, err := recordField(text)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if n == len(text) {
			return list, nil
		}
		text = text[n+1:]
	}
}

// recordField reads one field, and tells where it ends.
func recordField(text []byte) (event.Value, int, error) {
	if len(text) == 0 || text[0] == ',' {
		return event.Value{Null: true}, 0, nil
	}
	if text[0] != '"' {
		n := bytes.IndexByte(text, ',')
		if n < 0 {
			n = len(text)
		}
		return event.Value{Text: slices.Clone(text[:n])}, n, nil
	}
	out := []byte{}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c != '"' && c != '\\':
			out = append(out, c)
		case i+1 < len(text) && text[i+1] == c:
			out = append(out, c)
			i++
		case c == '"' && (i+1 == len(text) || text[i+1] == ','):
			return event.Value{Text: out}, i + 1, nil
		default:
			return event.Value{}, 0, errTaken
		}
	}
	return event.Value{}, 0, errTaken
}
