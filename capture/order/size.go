package order

import "github.com/opmux/opmux/event"

// sizeOf estimates the bytes of a body's value, from below by at most a factor of
// two for what is large.
func sizeOf(body event.Body) int {
	switch b := body.(type) {
	case *event.Transaction:
		return 256 + operationsSize(b.Operations) + settingsSize(b.Context.Settings)
	case *event.Chunk:
		return 64 + operationsSize(b.Operations)
	}
	return 64
}

func operationsSize(ops []event.Operation) int {
	size := 0
	for i := range ops {
		op := &ops[i]
		size += 64 + len(op.Reason) + len(op.Text) + len(op.Data) + len(op.Digest.Hash) + settingsSize(op.Settings)
		for j := range op.Params {
			size += 8 + len(op.Params[j].Value)
		}
		for _, t := range op.Tables {
			size += 1 + len(t)
		}
		if op.Rows != nil {
			size += rowsSize(op.Rows)
		}
	}
	return size
}

func rowsSize(r *event.RowImages) int {
	size := 32 + len(r.Schema) + len(r.Table)
	for _, names := range [][]string{r.Key, r.Columns, r.KeyTypes, r.ColumnTypes, r.Returning} {
		for _, s := range names {
			size += 1 + len(s)
		}
	}
	for i := range r.Rows {
		for _, v := range r.Rows[i].Key {
			size += 2 + len(v.Text)
		}
		for _, v := range r.Rows[i].Values {
			size += 2 + len(v.Text)
		}
	}
	return size
}

func settingsSize(settings []event.Setting) int {
	size := 0
	for _, s := range settings {
		size += 2 + len(s.Name) + len(s.Value)
	}
	return size
}
