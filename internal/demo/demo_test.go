package demo

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/internal/rig"
)

func TestNumberGroupsDigits(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestJudgeIsGoodOnlyWhenEverythingIs(t *testing.T) {
	t.Parallel()
	same := rig.TableDiff{Table: "public.a", Primary: 2, Backup: 2}
	other := rig.TableDiff{Table: "public.b", Primary: 2, Backup: 1, OnlyPrimary: []string{"(1)"}}
	all := rig.Verdicts{Match: 8}
	for _, c := range []struct {
		name     string
		diffs    []rig.TableDiff
		verdicts rig.Verdicts
		want     string // part of the problem; empty: good
	}{
		{"identical, all match", []rig.TableDiff{same}, all, ""},
		{"a table differs", []rig.TableDiff{same, other}, all, "public.b"},
		{"no tables", nil, all, "no table"},
		{"a mismatch", []rig.TableDiff{same}, rig.Verdicts{Match: 8, Mismatch: 1}, "different"},
		{"one missing", []rig.TableDiff{same}, rig.Verdicts{Match: 7, Missing: 1}, "never answered"},
		{"verifier behind", []rig.TableDiff{same}, rig.Verdicts{Match: 7}, "of 8"},
		{"skipped is not bad", []rig.TableDiff{same}, rig.Verdicts{Match: 7, Skipped: 1}, ""},
	} {
		got := judge(c.diffs, c.verdicts, 8)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: judged %q, want it to tell of %q", c.name, got, c.want)
		}
	}
}
