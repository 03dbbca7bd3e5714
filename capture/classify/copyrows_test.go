package classify_test

import (
	"errors"
	"testing"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// A COPY that leaves out drawn columns gets them in front of each row, wherever the
// client cuts its stream and whatever the agent holds at once.
func TestCopyRowsGetDrawnValuesInFront(t *testing.T) {
	r := newRig(t, `CREATE TABLE d (id serial, v text, w text)`)
	for _, c := range []struct {
		sql, data  string
		stream     string // of the server, in one piece
		part       string // what is published, where that is something else
		drawn      string // the value, in place of 7
		outOfOrder bool   // it cannot be followed in several pieces
		encoding   string
	}{
		{sql: `COPY d (v) FROM STDIN`, data: "a\nb\n", stream: "7\ta\n7\tb\n"},
		{sql: `COPY d (v) FROM STDIN`, data: "a\n\nb", stream: "7\ta\n7\t\n7\tb"},
		{sql: `COPY d (v) FROM STDIN`, data: "a\\\nb\\\\\nc\n", stream: "7\ta\\\nb\\\\\n7\tc\n"},
		{sql: `COPY d (v) FROM STDIN`, data: "a\r\nb\r\n", stream: "7\ta\r\n7\tb\r\n"},
		{sql: `COPY d (v) FROM STDIN`, data: "a\rb\r", stream: "7\ta\r7\tb\r"},
		{sql: `COPY d (v) FROM STDIN`, data: "a\nb\rc\n", stream: "7\ta\n7\tb\rc\n", outOfOrder: true},
		{sql: `COPY d (v) FROM STDIN`, data: "a\n\\.\nb\n", stream: "7\ta\n"},
		{sql: `COPY d (v) FROM STDIN`, data: "a\n\\.", stream: "7\ta\n"},
		{sql: `COPY d (v) FROM STDIN`, data: "a\\.\nb\n", stream: "7\ta\\.\n"},
		{sql: `COPY d (v) FROM STDIN`, data: "a\n", stream: "\\\\\\n\\\ta\ta\n", drawn: "\\\n\ta"},
		{sql: `COPY d (v) FROM STDIN NULL 'xy'`, data: "a\n", stream: "\\170y\ta\n", drawn: "xy"},
		{sql: `COPY d (v) FROM STDIN WITH (DELIMITER '|', HEADER)`, data: "v\na\n", stream: "v\n7|a\n"},
		{sql: `COPY d (v) FROM STDIN CSV`, data: "\"a\n\"\"\n\"\nb\n", stream: "\"7\",\"a\n\"\"\n\"\n\"7\",b\n"},
		{sql: `COPY d (v) FROM STDIN WITH (FORMAT csv, ESCAPE '\')`, data: "\"a\\\"\n\\\\\"\nb\n", stream: "\"7\",\"a\\\"\n\\\\\"\n\"7\",b\n"},
		{sql: `COPY d (v) FROM STDIN CSV`, data: "a\n\\.\nb\n", stream: "\"7\",a\n\\.\n", part: "\"7\",a\n"},
		{sql: `COPY d (v) FROM STDIN CSV`, data: "\\.a\n\\b\n", stream: "\"7\",\\.a\n\"7\",\\b\n"},
		{sql: `COPY d (v) FROM STDIN CSV QUOTE ''''`, data: "a\n", stream: "'it''s',a\n", drawn: "it's"},
		{sql: `COPY d (v) FROM STDIN BINARY`, data: head + "\x00\x01\x00\x00\x00\x02ab\x00\x01\xff\xff\xff\xff\xff\xff",
			stream: head + "\x00\x02\x00\x00\x00\x01\x07\x00\x00\x00\x02ab\x00\x02\x00\x00\x00\x01\x07\xff\xff\xff\xff\xff\xff", drawn: "07"},
		{sql: `COPY d (v) FROM STDIN`, data: "\x95\x5c\n\x83\x5c\\\n\n", stream: "\x95\x5c\t\x95\x5c\n\x95\x5c\t\x83\x5c\\\n\n", drawn: "\x95\x5c", encoding: "SJIS"},
		{sql: `COPY d (v) FROM STDIN WITH (FORMAT csv, ESCAPE '\')`, data: "\"\x95\x5c\"\n\"a\"\n", stream: "\"\x95\x5c\",\"\x95\x5c\"\n\"\x95\x5c\",\"a\"\n", drawn: "\x95\x5c", encoding: "SJIS"},
		{sql: `COPY d (v) FROM STDIN BINARY`, data: head, stream: head + "\xff\xff"},
	} {
		p := r.plan(c.sql)
		if c.drawn == "" {
			c.drawn = "7"
		}
		if c.part == "" {
			c.part = c.stream
		}
		for _, cut := range []int{len(c.data), 1, 3} {
			streams, part, err := extend(p, c.encoding, c.data, c.drawn, cut, 1<<20)
			if err != nil || len(streams) != 1 || streams[0] != c.stream || part != c.part {
				t.Errorf("%s %q by %d: %q, %q, %v, want %q, %q", c.sql, c.data, cut, streams, part, err, c.stream, c.part)
			}
		}
		_, part, err := extend(p, c.encoding, c.data, c.drawn, 2, 1)
		if c.outOfOrder && errors.Is(err, classify.ErrCopyStream) {
			continue
		}
		if err != nil || c.outOfOrder || part != c.part {
			t.Errorf("%s %q row by row: %q, %v", c.sql, c.data, part, err)
		}
	}
	for _, bad := range []string{"PGCOPX\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00", head[:11] + "\x00\x01\x00\x00\x00\x00\x00\x00", head + "\xff\xff\x00"} {
		if _, _, err := extend(r.plan(`COPY d (v) FROM STDIN BINARY`), "UTF8", bad, "07", 1, 1<<20); !errors.Is(err, classify.ErrCopyStream) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

const head = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// extend gives a stream to CopyRows in messages of cut bytes and takes it in pieces of size.
func extend(p *classify.Plan, encoding, data, drawn string, cut, size int) (streams []string, published string, err error) {
	rows := p.NewCopyRows(encoding)
	take := func(last bool) error {
		values := make([][]event.Value, rows.Rows())
		for i := range values {
			values[i] = []event.Value{{Text: []byte(drawn)}}
		}
		stream, part, err := rows.Take(values, last)
		rows.Taken()
		streams, published = append(streams, string(stream)), published+string(part)
		return err
	}
	for ; len(data) > 0; data = data[min(cut, len(data)):] {
		for piece := []byte(data[:min(cut, len(data))]); len(piece) > 0; {
			n, err := rows.Add(piece, size, 1000)
			if err != nil {
				return streams, published, err
			}
			if piece = piece[n:]; len(piece) > 0 {
				if err := take(false); err != nil {
					return streams, published, err
				}
			}
		}
	}
	if err := rows.Close(); err != nil {
		return streams, published, err
	}
	return streams, published, take(true)
}
