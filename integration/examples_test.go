package integration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opmux/opmux/internal/config"
)

// Every example under deployments/ is a configuration that loads.
func TestExampleConfigurationsLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("certificates"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"HOSTNAME": "host1", "KAFKA_CA": file, "PRIMARY_CA": file, "KAFKA_PASSWORD": "k", "OPMUX_PASSWORD": "o",
	} {
		t.Setenv(name, value)
	}
	found := 0
	for _, pattern := range []string{"*.yaml", "*/*.yaml", "*/*/*.yaml"} {
		paths, err := filepath.Glob(filepath.Join("..", "deployments", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			found++
			if _, err := config.Load(path); err != nil {
				t.Errorf("%v", err)
			}
		}
	}
	if found == 0 {
		t.Fatal("there is no example")
	}
}
