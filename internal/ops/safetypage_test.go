package ops

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// namedTest is a test as docs/sql-safety.md names it: directory.Test/subtest.
var namedTest = regexp.MustCompile("`([a-z/]+)\\.(Test[A-Za-z0-9]+)(?:/([^`]+))?`")

// TestSafetyPageNamesTests keeps docs/sql-safety.md from naming tests that are gone.
func TestSafetyPageNamesTests(t *testing.T) {
	page, err := os.ReadFile("../../docs/sql-safety.md")
	if err != nil {
		t.Fatal(err)
	}
	named := namedTest.FindAllStringSubmatch(string(page), -1)
	if len(named) < 50 {
		t.Fatalf("the page names %d tests", len(named))
	}
	for _, m := range named {
		if !testExists(t, m[1], m[2], m[3]) {
			t.Errorf("docs/sql-safety.md names %s, which does not exist", m[0])
		}
	}
}

// testExists looks for a test in the files of a directory, and for a subtest's name
// as a string beside it.
func testExists(t *testing.T, dir, test, sub string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+test+"(t *testing.T)") {
			name := sub[strings.LastIndex(sub, "/")+1:]
			return sub == "" || strings.Contains(string(text), `"`+name+`": {`)
		}
	}
	return false
}
