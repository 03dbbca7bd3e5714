package ops

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/opmux/opmux/internal/testkit"
)

// page is what a command that runs has written so far.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func TestTailFollows(t *testing.T) {
	b := newBench(t).withTopics()
	b.fence("a1")
	ctx, stop := context.WithCancel(t.Context())
	var out page
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, IO{Out: &out, Err: &out}, []string{"tail", "--config", b.verifier, "--follow", "--json"})
	}()
	see := func(want string) {
		t.Helper()
		testkit.Eventually(t, testkit.Patience, func() error {
			if text := out.String(); !strings.Contains(text, want) {
				return fmt.Errorf("%q is not in %s", want, text)
			}
			return nil
		})
	}
	see(`"kind":"fence"`)
	_, first := b.intent("a1", "SELECT 'first'")
	b.outcome("a1", first, true)
	see(`"outcome":"committed"`)
	b.intent("a1", "SELECT 'second'")
	see(`"outcome":"open"`) // after a while
	stop()
	if err := <-ended; err != nil {
		t.Errorf("interrupted: %v", err)
	}
}
