package avro

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opmux/opmux/event"
)

func sampleDigests() []*event.DigestRecord {
	return []*event.DigestRecord{
		{Source: "orders", Tx: event.TxID{1}, Offset: 2, Target: "standby", Level: event.LevelFull, Time: 3, Skipped: "take-over", Count: 4,
			Operations: []event.OpDigest{{Index: 1, Statement: "UPDATE t SET a = $1", Skipped: "diverged: public.t",
				Digest: event.Digest{SQLState: "00000", Affected: -1, Hash: []byte{7}}}}},
		{},
	}
}

func sampleVerdicts() []*event.VerdictRecord {
	return []*event.VerdictRecord{
		{Source: "orders", Target: "standby", Tx: event.TxID{1}, Offset: 2, Time: 3, Match: 4, Mismatch: 5, Missing: 6, Skipped: 7,
			Findings: []event.Finding{{Index: 1, Verdict: event.VerdictMismatch, Level: event.LevelCount, Reason: "rows", Statement: "DELETE FROM t",
				Primary: event.Digest{SQLState: "00000", Affected: 1}, Backup: event.Digest{SQLState: "00000", Hash: []byte{1}}}}},
		{},
	}
}

// goldenCase is one file of testdata: what a version's bytes mean today.
type goldenCase struct {
	file   string
	value  []byte
	decode func([]byte) (any, error)
	want   any
}

func goldenCases(t *testing.T) []goldenCase {
	t.Helper()
	c := New()
	var cases []goldenCase
	add := func(kind string, i int, value []byte, err error, decode func([]byte) (any, error), want any) {
		if err != nil {
			t.Fatal(err)
		}
		file := fmt.Sprintf("%s.%d.%02d.hex", kind, c.newest[kindName(kind)].version, i)
		cases = append(cases, goldenCase{file, value, decode, want})
	}
	for i, r := range samples() {
		value, err := c.EncodeRecord(r)
		add("record", i, value, err, func(b []byte) (any, error) { return c.DecodeRecord(b) }, r)
	}
	for i, d := range sampleDigests() {
		value, err := c.EncodeDigest(d)
		add("digest", i, value, err, func(b []byte) (any, error) { return c.DecodeDigest(b) }, d)
	}
	for i, v := range sampleVerdicts() {
		value, err := c.EncodeVerdict(v)
		add("verdict", i, value, err, func(b []byte) (any, error) { return c.DecodeVerdict(b) }, v)
	}
	return cases
}

func kindName(kind string) string {
	return map[string]string{"record": recordName, "digest": digestName, "verdict": verdictName}[kind]
}

// The newest version's bytes are what they were when it was published. A file
// that is there holds bytes that are in somebody's topics, and is never changed.
func TestGoldenBytes(t *testing.T) {
	for _, g := range goldenCases(t) {
		path := filepath.Join("testdata", g.file)
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) && os.Getenv("OPMUX_GOLDEN") == "write" {
			if err := os.WriteFile(path, []byte(hex.EncodeToString(g.value)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%v: with OPMUX_GOLDEN=write the test makes the files of a new version", err)
		}
		if got := hex.EncodeToString(g.value); got != strings.TrimSpace(string(text)) {
			t.Errorf("%s: the bytes changed; a changed schema needs a new version\n got %s\nwant %s", g.file, got, text)
		}
		old, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := g.decode(old); err != nil || !reflect.DeepEqual(got, g.want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", g.file, err, got, g.want)
		}
	}
}

// Every file of testdata, whatever its version, still means what it meant.
func TestEveryPublishedVersionDecodes(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	c := New()
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		value, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		var kind string
		var version, i int
		if _, err := fmt.Sscanf(dotsToSpaces(filepath.Base(path)), "%s %d %d hex", &kind, &version, &i); err != nil {
			t.Fatal(path, err)
		}
		var got, want any
		switch kind {
		case "record":
			want = asOf(version, samples()[i])
			got, err = c.DecodeRecord(value)
		case "digest":
			want = sampleDigests()[i]
			got, err = c.DecodeDigest(value)
		case "verdict":
			want = sampleVerdicts()[i]
			got, err = c.DecodeVerdict(value)
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", path, err, got, want)
		}
	}
}

// asOf takes out of a record what its version of the schema could not say.
func asOf(version int, r *event.Record) *event.Record {
	tx, ok := r.Body.(*event.Transaction)
	if !ok {
		return r
	}
	if version == 1 {
		tx.Shapes = nil
	}
	for i := range tx.Shapes {
		if version < firstDefinitions {
			tx.Shapes[i].Definition = nil
		}
	}
	return r
}

// A fingerprint that changes means that a published file was edited.
func TestFingerprintsOfPublishedSchemas(t *testing.T) {
	want := readFingerprints(t)
	for f, s := range New().byFingerprint {
		key := fmt.Sprintf("%s %d", s.name, s.version)
		if got := fmt.Sprintf("%016x", f); want[key] != got {
			t.Errorf("%s: fingerprint %s, published was %q", key, got, want[key])
		}
	}
}

// Attributes, which hold the tables, are no part of a fingerprint; they must not
// change either.
func TestTablesOfThePublishedSchema(t *testing.T) {
	for _, file := range []string{"record.3.avsc", "record.4.avsc"} {
		text, err := files.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprintf("%x", sha256.Sum256(text)), readFingerprints(t)[file]; got != want {
			t.Errorf("SHA-256 of %s is %s, published was %q: records would be read with other words than they were written with", file, got, want)
		}
	}
	// Version 3 is read with the newest tables, which say the same and more.
	old, newest := loadTables("record.3.avsc"), published
	if !reflect.DeepEqual(old.Baselines, newest.Baselines) || !reflect.DeepEqual(old.Phrases, newest.Phrases) ||
		len(newest.Reasons) < len(old.Reasons) || !reflect.DeepEqual(old.Reasons, newest.Reasons[:len(old.Reasons)]) {
		t.Error("the tables of version 4 do not begin with those of version 3")
	}
	if New().newest[recordName].version != event.ReaderVersion {
		t.Errorf("the newest schema is not version %d, which FENCEs name as the lowest that reads what follows", event.ReaderVersion)
	}
}

func readFingerprints(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/fingerprints.json")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	return want
}

// registryServer is a schema registry that knows what is registered, and
// schemas that somebody else registered.
func registryServer(t *testing.T, others map[int]string) string {
	t.Helper()
	registered := map[string]int{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /subjects/{subject}/versions", func(w http.ResponseWriter, r *http.Request) {
		subject := r.PathValue("subject")
		if registered[subject] == 0 {
			registered[subject] = 100 + len(registered)
		}
		fmt.Fprintf(w, `{"id": %d}`, registered[subject])
	})
	mux.HandleFunc("GET /schemas/ids/{id}/versions", func(w http.ResponseWriter, r *http.Request) {
		var list []map[string]any
		for subject, id := range registered {
			if fmt.Sprint(id) == r.PathValue("id") {
				list = append(list, map[string]any{"subject": subject, "version": 1})
			}
		}
		json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("GET /subjects/{subject}/versions/{version}", func(w http.ResponseWriter, r *http.Request) {
		subject := r.PathValue("subject")
		json.NewEncoder(w).Encode(map[string]any{"subject": subject, "version": 1, "id": registered[subject], "schema": "{}"})
	})
	mux.HandleFunc("GET /schemas/ids/{id}", func(w http.ResponseWriter, r *http.Request) {
		for id, text := range others {
			if fmt.Sprint(id) == r.PathValue("id") {
				json.NewEncoder(w).Encode(map[string]any{"schema": text})
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error_code": 40403, "message": "Schema not found"}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}
