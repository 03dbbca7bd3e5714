package catalog

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/wire/pgencoding"
)

// convertSQL converts texts, given as hexadecimal digits. With pg_catalog as the whole
// search_path of the connection, conversions of users are not taken for it. Of a character
// in the database's own encoding it tells whether a backup, which is given it in UTF-8,
// would have the same bytes: EUC_JP and EUC_TW have two forms of some.
const convertSQL = `select pg_catalog.encode(c.text, 'hex'),
	$1 <> pg_catalog.getdatabaseencoding()::pg_catalog.text or pg_catalog.convert(c.text, $2, $1) = pg_catalog.decode(t.h, 'hex')
	from pg_catalog.unnest(pg_catalog.string_to_array($3, ',')) with ordinality t (h, n),
	lateral (select pg_catalog.convert(pg_catalog.decode(t.h, 'hex'), $1, $2)) c (text) order by t.n`

// maxConverted bounds the texts of one question.
const maxConverted = 5000

// SQLSTATEs of what is no character, and of one that the other encoding has not.
const (
	stateNoCharacter    = "22021"
	stateUntranslatable = "22P05"
)

// Encoding returns the client encoding of that name, nil where it is not known.
func (c *Catalog) Encoding(name string) pgencoding.Text {
	if e := pgencoding.Named(name); e != nil {
		return e
	}
	w, known := c.wides[name]
	if !known {
		return nil
	}
	return w
}

// wideEncodings are those for whose characters the primary is asked.
func (c *Catalog) wideEncodings() map[string]*pgencoding.Wide {
	all := map[string]*pgencoding.Wide{}
	for _, name := range pgencoding.Wides() {
		all[name] = pgencoding.NewWide(name, c.convert)
	}
	return all
}

// convert is a pgencoding.Convert.
func (c *Catalog) convert(from, to string, texts []string) ([]string, error) {
	out := make([]string, 0, len(texts))
	for len(texts) > 0 {
		n := min(len(texts), maxConverted)
		digits := make([]string, n)
		for i, t := range texts[:n] {
			digits[i] = hex.EncodeToString([]byte(t))
		}
		rows, err := c.lookups.Query(context.Background(), convertSQL, from, to, strings.Join(digits, ","))
		var refused *pgconn.PgError
		if errors.As(err, &refused) && (refused.Code == stateNoCharacter || refused.Code == stateUntranslatable) {
			return nil, pgencoding.ErrNone
		}
		if err != nil {
			return nil, fmt.Errorf("asking the primary for characters of %s: %w", from, err)
		}
		if len(rows) != n {
			return nil, fmt.Errorf("asking the primary for characters of %s: %d answers to %d questions", from, len(rows), n)
		}
		for _, row := range rows {
			if string(row[1].Text) != "t" {
				return nil, pgencoding.ErrNone
			}
			text, err := hex.DecodeString(string(row[0].Text))
			if err != nil {
				return nil, fmt.Errorf("asking the primary for characters of %s: %w", from, err)
			}
			out = append(out, string(text))
		}
		texts = texts[n:]
	}
	return out, nil
}
