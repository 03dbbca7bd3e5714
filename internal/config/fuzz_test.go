package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzConfiguration: no file makes a program panic, and each is either a
// configuration or an error that names the file.
func FuzzConfiguration(f *testing.F) {
	examples, err := filepath.Glob("../../deployments/kafka/*.yaml")
	if err != nil || len(examples) == 0 {
		f.Fatalf("no example files: %v", err)
	}
	for _, path := range examples {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{
		"a: &a [*a]\n", "source: &s {agent: *s}\n", "kafka: {brokers: &b [\"x:1\"], <<: *b}\n", "source: ${HOME}\nagent: $${x}\n",
		"target: !!binary aGVsbG8=\nmemory: 99999999999GiB\n", "sources: [{name: orders, targets: []}]\ntimeout: -1h\n", "source: [\nlisten: 7", "? [a]\n: b\n",
		"source: x\nsource: y\n", "listen: {max_sessions: 1e309, handshake_timeout: 9999999999999h}\nsource: \"\\0\"\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, load := range []func(*document) error{
			func(d *document) error { _, err := d.agent(anywhere); return err },
			func(d *document) error { _, err := d.worker(); return err },
			func(d *document) error { _, err := d.verifier(); return err },
		} {
			d, err := parseText("fuzz.yaml", text)
			if err == nil {
				err = load(d)
			}
			var named *Error
			if err != nil && (!errors.As(err, &named) || named.File != "fuzz.yaml") {
				t.Errorf("an error that does not name the file: %v", err)
			}
		}
	})
}
