package readiness

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func report(t *Tally) *Report {
	r := &Report{Source: "orders", Database: "app", OnUnsafe: "reject"}
	t.Fill(r)
	return r
}

// A share is rounded down: 100 says that everything would be carried.
func TestShareIsNeverTooGood(t *testing.T) {
	tally := NewTally(10)
	if s := report(tally).Statements; s.Percent != nil || s.Say() != "none seen" {
		t.Errorf("of nothing: %s", s.Say())
	}
	tally.Add(Form{Statement: "a", Action: Publish, Write: true}, 9999)
	tally.Add(Form{Statement: "b", Action: Pass}, 1)
	tally.Add(Form{Statement: "c", Action: Fail, Write: true}, 500)
	if s := report(tally).Statements; s.Say() != "100.0 % (10000 of 10000)" {
		t.Errorf("all: %s", s.Say())
	}
	for _, action := range []string{Refuse, Flag, Unknown} {
		tally.Add(Form{Statement: "d", Action: action, Write: true}, 1)
	}
	r := report(tally)
	if r.Statements.Say() != "99.9 % (10000 of 10003)" || r.Writes.Say() != "99.9 % (9999 of 10002)" {
		t.Errorf("statements %s, writes %s", r.Statements.Say(), r.Writes.Say())
	}
	if r.Lines[0].Action != Refuse || r.Lines[len(r.Lines)-1].Action != Fail {
		t.Errorf("the order is %+v", r.Lines)
	}
}

// I7: what is kept is bounded, and the sums are exact all the same.
func TestTallyIsBounded(t *testing.T) {
	tally := NewTally(2)
	long := strings.Repeat("ü", maxText)
	for _, text := range []string{"x" + long, "x" + long + "y", "x" + long, "third", "fourth"} {
		tally.Add(Form{Statement: text, Action: Refuse, Write: true}, 1)
	}
	r := report(tally)
	if len(r.Lines) != 2 || r.LeftOut != 2 || r.Statements.Seen != 5 || r.Writes.Seen != 5 {
		t.Fatalf("%d lines, %d left out of %d", len(r.Lines), r.LeftOut, r.Statements.Seen)
	}
	for _, l := range r.Lines {
		if len(l.Statement) > maxText+len(" …") || !strings.HasSuffix(l.Statement, "ü …") {
			t.Errorf("a text of %d bytes is kept, and ends in %q", len(l.Statement), l.Statement[len(l.Statement)-8:])
		}
	}
	var text bytes.Buffer
	if err := r.Text(&text); err != nil || !strings.Contains(text.String(), "2 runs are in the sums and in no line, since 2 forms are told apart at most") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// All formats tell the same, and a page holds no mark-up but its own.
func TestFormats(t *testing.T) {
	tally := NewTally(10)
	tally.Session()
	tally.Unobserved("on another database")
	tally.Warn("once")
	tally.Warn("once")
	tally.Add(Form{Statement: `SELECT "<script>&"`, Action: Refuse, Class: "refused", Construct: "<i>", Reason: `a "reason"`, Hint: "<hint>", Tables: []string{"public.<t>"}, Write: true}, 7)
	r := report(tally)
	var text, asJSON, page bytes.Buffer
	for _, err := range []error{r.Text(&text), r.JSON(&asJSON), r.HTML(&page)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var back Report
	if err := json.Unmarshal(asJSON.Bytes(), &back); err != nil || back.Lines[0].Count != 7 || back.Lines[0].Statement != `SELECT "<script>&"` || back.Warnings[0] != "once" || len(back.Warnings) != 1 {
		t.Errorf("%v: %+v", err, back)
	}
	for _, foreign := range []string{"<script", "<i>", "<hint>", "<t>"} {
		if strings.Contains(page.String(), foreign) {
			t.Errorf("the page has %s in it", foreign)
		}
	}
	for _, want := range []string{"0.0 % (0 of 7)", "1 sessions were relayed without a look at them: on another database", "once"} {
		if !strings.Contains(text.String(), want) || !strings.Contains(page.String(), want) {
			t.Errorf("%q is not in both of\n%s\n%s", want, text.String(), page.String())
		}
	}
	if !strings.Contains(page.String(), "SELECT &#34;&lt;script&gt;&amp;&#34;") || !strings.Contains(text.String(), "  count     7\n  action    refuse\n") {
		t.Errorf("the statement is not told:\n%s\n%s", text.String(), page.String())
	}
}
