package execute

import (
	"strconv"
	"strings"

	"github.com/opmux/opmux/event"
)

// ofImages returns the shape of row images and their rows. What one of them is for
// the target is a statement with parameters like those of a client.
func (s *sets) ofImages(images *event.RowImages) (*setShape, []*member, error) {
	if images.Action == event.ActionUpsert || len(images.Returning) > 0 || len(images.Rows) == 0 || len(images.Rows) > maxSetImages {
		return nil, nil, nil
	}
	if bad := checkImages(images); bad != nil {
		return nil, nil, nil //nolint:nilerr // sent on its own, it fails by that
	}
	op := event.Operation{Text: imageSQL(images)}
	if op.Text == "" {
		return nil, nil, nil
	}
	op.Params = make([]event.Param, len(images.Columns)+len(images.Key))
	members := make([]*member, 0, len(images.Rows))
	var sh *setShape
	for i := range images.Rows {
		row := &images.Rows[i]
		params := op.Params[:0]
		for _, list := range [][]event.Value{row.Values, row.Key} {
			for _, v := range list {
				params = append(params, event.Param{Null: v.Null, Value: v.Text})
			}
		}
		of, one, err := s.ofStatement(&op)
		if err != nil || len(one) == 0 {
			return nil, nil, err
		}
		sh, members = of, append(members, one[0])
	}
	return sh, members, nil
}

// imageSQL is the statement for one row of images, "" where there is none: its
// parameters are the columns, then the key.
func imageSQL(images *event.RowImages) string {
	var b strings.Builder
	table := quoteIdent(images.Schema) + "." + quoteIdent(images.Table)
	n := 0
	mark := func() string { n++; return "$" + strconv.Itoa(n) }
	switch images.Action {
	case event.ActionInsert:
		if len(images.Key) > 0 || len(images.Columns) == 0 {
			return ""
		}
		marks := make([]string, len(images.Columns))
		for i := range marks {
			marks[i] = mark()
		}
		return "INSERT INTO " + table + " (" + quoteAll(images.Columns) + ") OVERRIDING SYSTEM VALUE VALUES (" + strings.Join(marks, ", ") + ")"
	case event.ActionUpdate:
		if len(images.Columns) == 0 {
			return ""
		}
		b.WriteString("UPDATE " + table + " SET ")
		for i, c := range images.Columns {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quoteIdent(c) + " = " + mark())
		}
	default:
		b.WriteString("DELETE FROM " + table)
	}
	for i, key := range images.Key {
		word := " AND "
		if i == 0 {
			word = " WHERE "
		}
		b.WriteString(word + quoteIdent(key) + " = " + mark())
	}
	return b.String()
}
