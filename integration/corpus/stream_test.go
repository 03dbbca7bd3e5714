package corpus

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/opmux/opmux/internal/rig"
)

// record is what is read of a line of `opmux tail --json`.
type record struct {
	Outcome    string
	Operations []struct {
		Reason, Text string
		Diverged     []string
	}
}

// readStream reads what was published: which tables were flagged, and why.
func (f *finding) readStream(ctx context.Context, r *rig.Rig) error {
	text, err := r.Must(ctx, "tail", "--config", r.WorkerConfig("w1"), "--from", "beginning", "--json")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.Dir, "ops.jsonl"), []byte(text), 0o600); err != nil {
		return err
	}
	f.diverged, f.flagged, f.operations = map[string]bool{}, map[string]int{}, 0
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var rec record
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			return fmt.Errorf("opmux tail: %w", err)
		}
		for _, op := range rec.Operations {
			f.operations++
			if len(op.Diverged) == 0 {
				continue
			}
			f.flagged[op.Reason]++
			for _, table := range op.Diverged {
				f.diverged[table] = true
			}
		}
	}
	return lines.Err()
}
