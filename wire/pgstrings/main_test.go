package pgstrings_test

import (
	"os"
	"testing"

	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }
