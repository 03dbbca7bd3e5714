package session

import "github.com/opmux/opmux/wire/pgwire"

// maxRowValues is how many values a splitRow has room for at rest.
const maxRowValues = 128

// splitRow has room for one row that is taken apart, which the next one uses again:
// every transaction has one of the probe's. It is the back's own.
type splitRow struct {
	body   []byte
	values []pgwire.DataRowValue
}

// split is pgwire.SplitDataRow. What it returns is valid until done.
func (r *splitRow) split(body []byte, keep int) (kept []byte, values []pgwire.DataRowValue, err error) {
	r.body, r.values, err = pgwire.SplitDataRow(body, keep, r.body[:0], r.values[:0])
	return r.body, r.values, err
}

// done lets go of the row, whose values are the reader's bytes.
func (r *splitRow) done() {
	clear(r.values)
	if cap(r.values) > maxRowValues {
		r.values = nil
	}
	if cap(r.body) > bufferSize {
		r.body = nil
	}
}
