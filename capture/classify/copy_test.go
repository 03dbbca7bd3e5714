package classify_test

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

func TestCopyStreamsAreReadForDateWords(t *testing.T) {
	r := newRig(t, append(shop, `create table days(id int primary key, d date, list date[])`)...)
	for _, c := range []struct {
		sql, data string
		bad       bool
	}{
		{`COPY days (id, list) FROM STDIN`, "1\t{" + strings.Repeat("2026-01-01,", 100) + "2026-01-01}\n", false},
		{`COPY days (id, list) FROM STDIN`, "1\t{today," + strings.Repeat("2026-01-01,", 100) + "2026-01-01}\n", true},
		{`COPY days (id, list) FROM STDIN`, "1\t{" + strings.Repeat("2026-01-01,", 100) + "Yesterday}\n", true},
		{`COPY days (id, d) FROM STDIN`, "1\t" + strings.Repeat(" ", 252) + "tomorrow" + strings.Repeat(" ", 300) + "\n", true},
		{`COPY days (id, d) FROM STDIN`, "1\t" + strings.Repeat("x", 254) + "now\n", false},
		{`COPY days (id, d) FROM STDIN`, "1\t" + strings.Repeat(" ", 252) + "nowhere" + strings.Repeat("x", 600) + "now\n", false},
		{`COPY jobs FROM STDIN`, "1\tnow\t2026-01-01\t\\N\n2\ttoday\t\\N\t3\n", false},
		{`COPY jobs FROM STDIN`, "1\tnew\tnow\t1\n", true},
		{`COPY jobs FROM STDIN`, "1\tnew\t Today 12:00\t1", true},
		{`COPY jobs FROM STDIN`, "1\tnew\t\\x6eow\t1\n", true},
		{`COPY jobs FROM STDIN`, "1\tnew\t\\156ow\t1\n", true},
		{`COPY jobs FROM STDIN`, "1\tnew\tn\\ow\t1\n", true},
		{`COPY jobs FROM STDIN`, "1\ta\\\tnow\t2026-01-01\t1\n", false},
		{`COPY jobs FROM STDIN`, "\\.\n1\tnew\tnow\t1\n", false},
		{`COPY jobs(at, state) FROM STDIN`, "2026-01-01\tnow\r\nyesterday\tx\r\n", true},
		{`COPY jobs FROM STDIN (DELIMITER '|')`, "1|new|now|1\n", true},
		// The last byte of a character is a backslash, which escapes nothing.
		{`COPY jobs FROM STDIN (ENCODING 'Shift_JIS')`, "1\t\x95\x5c\tnow\t1\n", true},
		{`COPY jobs FROM STDIN (ENCODING 'UTF8')`, "1\t\xe9\x5c\tnow\t1\n", false},
		{`COPY jobs FROM STDIN CSV`, "1,\"a,now\n\",2026-01-01,1\n", false},
		{`COPY jobs FROM STDIN CSV`, "1,new,\"to\"\"day\",1\n", false},
		{`COPY jobs FROM STDIN CSV`, "1,new,\"today\",1\n", true},
		{`COPY jobs FROM STDIN WITH (FORMAT csv, HEADER, ESCAPE '\')`, "id,now,now,now\n1,\"a\\\"\",now,1\n", true},
		{`COPY jobs FROM STDIN WITH (FORMAT csv, HEADER)`, "id,now,now,now\n1,new,2026-01-01,1\n", false},
	} {
		p := r.plan(c.sql)
		whole, pieces := scan(p, c.data, len(c.data)), scan(p, c.data, 1)
		if (whole != nil) != c.bad || (pieces != nil) != c.bad {
			t.Errorf("%s %q: %v, in pieces %v", c.sql, c.data, whole, pieces)
		}
	}
	for _, sql := range []string{`COPY jobs(id, state) FROM STDIN`, `COPY jobs FROM STDIN BINARY`} {
		if r.plan(sql).NewCopyScanner("UTF8") != nil {
			t.Errorf("%s: there is nothing to look for", sql)
		}
	}
}

func scan(p *classify.Plan, data string, n int) error {
	s := p.NewCopyScanner("UTF8")
	for ; len(data) > 0; data = data[min(n, len(data)):] {
		if err := s.Scan([]byte(data[:min(n, len(data))])); err != nil {
			return err
		}
	}
	return s.Close()
}

func TestCopyOperations(t *testing.T) {
	r := newRig(t, shop...)
	p := r.plan(`COPY history (tid) FROM STDIN`)
	first, err := p.Operations(classify.Execution{First: true, More: true, Data: []byte("1\n")})
	if err != nil || len(first) != 1 || first[0].Kind != event.OpCopy || first[0].Text == "" || !first[0].More || first[0].Digest.SQLState != "" {
		t.Errorf("first part: %+v, %v", first, err)
	}
	last, err := p.Operations(classify.Execution{Data: []byte("2\n"), Affected: 2})
	if err != nil || len(last) != 1 || last[0].Text != "" || last[0].More || last[0].Digest.Affected != 2 || string(last[0].Data) != "2\n" {
		t.Errorf("last part: %+v, %v", last, err)
	}
}

// I7: what is kept does not grow with the stream.
func TestI7CopyScannerIsBounded(t *testing.T) {
	r := newRig(t, shop...)
	s := r.plan(`COPY jobs FROM STDIN`).NewCopyScanner("UTF8")
	long := []byte("1\tx\t" + strings.Repeat("nox ", 1<<20))
	if n := testing.AllocsPerRun(3, func() {
		if err := s.Scan(long); err != nil {
			t.Error(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
