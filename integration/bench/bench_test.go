package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

func TestMedianAndPercentile(t *testing.T) {
	t.Parallel()
	list := []float64{9, 1, 5}
	if got := median(list); got != 5 || list[0] != 9 {
		t.Errorf("median %v, list %v: want 5, and the list as it was", got, list)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of four is %v, want 2.5", got)
	}
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i)
	}
	for p, want := range map[float64]float64{0: 0, 50: 50, 99: 99, 100: 99} {
		if got := percentile(hundred, p); got != want {
			t.Errorf("percentile %v is %v, want %v", p, got, want)
		}
	}
}

func TestNumberGroupsDigits(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{0: "0", 999.6: "1,000", 1234567: "1,234,567", -123: "-123", -1234: "-1,234"} {
		if got := number(x); got != want {
			t.Errorf("number(%v) = %s, want %s", x, got, want)
		}
	}
}

func TestOutcomeOfPgbench(t *testing.T) {
	t.Parallel()
	o, err := parseOutcome("number of transactions actually processed: 3270\nnumber of failed transactions: 0 (0.000%)\ninitial connection time = 9 ms\ntps = 1090.5 (without initial connection time)\n")
	if err != nil || o.transactions != 3270 || o.tps != 1090.5 {
		t.Errorf("got %+v, %v", o, err)
	}
	if _, err := parseOutcome("pgbench: error: connection refused"); err == nil {
		t.Error("what says nothing was read as a result")
	}
	list, err := parseLog("0 1 1500 0 1 2 10\n1 1 250 0 1 2 10\n")
	if err != nil || len(list) != 2 || list[0] != 1.5 || list[1] != 0.25 {
		t.Errorf("latencies %v, %v; want 1.5 and 0.25 ms", list, err)
	}
	if _, err := parseLog("0 1\n"); err == nil {
		t.Error("a line without a latency was read")
	}
}

func TestProcessorTimes(t *testing.T) {
	t.Parallel()
	const stat = "12 (a b) c) S 1 12 12 0 -1 4194560 1 2 3 4 150 50 700 300 20 0 5 0 99"
	own, err := parseStat(stat, ownTime)
	children, err2 := parseStat(stat, childTime)
	if err != nil || err2 != nil || own != 2*time.Second || children != 10*time.Second {
		t.Errorf("own %v, children %v (%v, %v); want 2s and 10s", own, children, err, err2)
	}
	if _, err := cpuOf(os.Getpid()); err != nil {
		t.Error(err)
	}
	if _, err := parseStat("12 (x) S 1 2", ownTime); err == nil {
		t.Error("too few fields were read")
	}
}

// What a child has used counts while it lives and once it has ended, and once.
func TestTimeOfLivingAndEndedChildren(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	parent, err := child.Start(child.Config{Path: "/bin/sh", Log: filepath.Join(dir, "log"), Args: []string{"-c",
		`sh -c 'echo $$ > ` + pidFile + `.new; mv ` + pidFile + `.new ` + pidFile + `; while :; do :; done' & wait; while :; do sleep 1; done`}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { parent.Kill() })
	var busy int
	testkit.Eventually(t, testkit.Patience, func() error {
		text, err := os.ReadFile(pidFile)
		if err == nil {
			busy, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err
	})
	living := func() []int { return []int{busy} }
	used := func(children func() []int) (d time.Duration) {
		t.Helper()
		d, err := familyTime(parent.Pid(), children)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	testkit.Eventually(t, testkit.Patience, func() error {
		if d := used(living); d < 200*time.Millisecond {
			return fmt.Errorf("the living child has used %v", d)
		}
		return nil
	})
	if err := syscall.Kill(busy, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, testkit.Patience, func() error {
		if d := used(func() []int { return nil }); d < 200*time.Millisecond {
			return fmt.Errorf("the ended child has used %v", d)
		}
		return nil
	})
}

func TestGoalsAreMeasuredInTheirDirection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		g    goal
		want bool
	}{
		{goal{want: 1, got: 1}, true}, {goal{want: 1, got: 0.99}, false},
		{goal{want: 235, got: 235, atMost: true}, true}, {goal{want: 235, got: 236, atMost: true}, false},
	} {
		if c.g.reached() != c.want {
			t.Errorf("%+v: reached is %v", c.g, c.g.reached())
		}
	}
}

func TestWhatPeopleWroteOutlivesARun(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	var r report
	r.add("Speed", "intro", table{head: []string{"way", "tps"}, rows: [][]string{{"direct", "5"}}})
	if err := r.write(path, "c"); err != nil {
		t.Fatal(err)
	}
	text := read(t, path)
	edited := strings.Replace(text, keepBegin+"\n", keepBegin+"\nThe broker does.\n", 1)
	if edited == text {
		t.Fatalf("the report has no place for people:\n%s", text)
	}
	write(t, path, edited)
	if err := (&report{}).write(path, "c"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); !strings.Contains(got, "The broker does.") || strings.Contains(got, "direct") {
		t.Errorf("after the second run:\n%s", got)
	}
}

func TestAFileOfSomebodyElseIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notes.md")
	for _, text := range []string{"notes", keepBegin + "\nno end"} {
		write(t, path, text)
		if err := (&report{}).write(path, "c"); err == nil {
			t.Errorf("%q was overwritten", text)
		}
		if got := read(t, path); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestLagsAreMatchedByTransaction(t *testing.T) {
	t.Parallel()
	primary := [][]string{{"a", "1000000"}, {"b", "2000000"}}
	list, err := matchLags(primary, [][]string{{"b", "2004000"}, {"a", "1009000"}})
	if err != nil || len(list) != 2 || list[0] != 4 || list[1] != 9 {
		t.Errorf("lags %v, %v; want 4 and 9 ms", list, err)
	}
	if _, err := matchLags(primary, [][]string{{"c", "1"}}); err == nil {
		t.Error("a transaction of the backup's own went unnoticed")
	}
}

func TestSectionsByName(t *testing.T) {
	t.Parallel()
	got, err := choose("lag,tpcb")
	if err != nil || len(got) != 2 || got[0].name != "lag" {
		t.Errorf("chose %v, %v", got, err)
	}
	if _, err := choose("lags"); err == nil {
		t.Error("a section that does not exist was chosen")
	}
}

func TestReadsDoNotNeedTheSecondBroker(t *testing.T) {
	t.Parallel()
	w := world{ways: []way{{name: direct}, {name: wayName(none, rig.KafkaEmbedded), kafka: rig.KafkaEmbedded}, {name: wayName(none, rig.KafkaReal), kafka: rig.KafkaReal}}}
	if n := len(w.waysFor(workload{script: "select-only"})); n != 2 {
		t.Errorf("%d ways for reads, want 2", n)
	}
	if n := len(w.waysFor(workload{script: "tpcb"})); n != 3 {
		t.Errorf("%d ways for writes, want 3", n)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
