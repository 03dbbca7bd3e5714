package ops

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/opmux/opmux/event"
)

// tailLine is one record as tail --json prints it.
type tailLine struct {
	Offset     int64           `json:"offset"`
	Kind       event.Kind      `json:"kind"`
	Source     string          `json:"source"`
	Agent      string          `json:"agent"`
	Epoch      int64           `json:"epoch"`
	N          int64           `json:"n"`
	ID         string          `json:"id"`      // of a transaction, its chunks, a mark; else empty
	Outcome    string          `json:"outcome"` // of a transaction or void; else empty
	Time       time.Time       `json:"time"`
	User       string          `json:"user,omitempty"`
	DependsOn  *int64          `json:"depends_on,omitempty"`
	XID        uint64          `json:"xid,omitempty"`
	Chunks     int32           `json:"chunks,omitempty"`
	Standalone bool            `json:"standalone,omitempty"`
	Operations []tailOperation `json:"operations"`
	Outcomes   []tailOutcome   `json:"outcomes,omitempty"`
	Fence      *tailFence      `json:"fence,omitempty"`
	Mark       *tailMark       `json:"mark,omitempty"`
}

type tailOperation struct {
	Kind      event.OpKind `json:"kind"`
	Class     event.Class  `json:"class"`
	Reason    string       `json:"reason"`
	Text      string       `json:"text"`
	Tables    []string     `json:"tables"`
	Params    int          `json:"params,omitempty"` // how many; their values are data
	Rows      int          `json:"rows,omitempty"`   // row images
	Bytes     int          `json:"bytes,omitempty"`  // of a COPY stream
	More      bool         `json:"more,omitempty"`
	Affected  int64        `json:"affected"`
	Sequences []string     `json:"sequences,omitempty"`
	Diverged  []string     `json:"diverged,omitempty"`
}

type tailOutcome struct {
	Agent     string `json:"agent"`
	Epoch     int64  `json:"epoch"`
	N         int64  `json:"n"`
	Committed bool   `json:"committed"`
	By        string `json:"by,omitempty"`
}

type tailFence struct {
	Clean   bool     `json:"clean"` // closes the writer's epoch; else opens one or ends others'
	Gate    string   `json:"gate,omitempty"`
	Ended   []string `json:"ended,omitempty"`
	Suspect []string `json:"suspect,omitempty"`
	Primary string   `json:"primary,omitempty"`
}

type tailMark struct {
	Phase    event.MarkPhase `json:"phase"`
	Target   string          `json:"target,omitempty"`
	Snapshot string          `json:"snapshot,omitempty"`
	Start    int64           `json:"start,omitempty"`
}

func printJSON(w io.Writer) func(string, *held) error {
	return func(source string, h *held) error {
		line, err := json.Marshal(lineOf(source, h))
		if err == nil {
			_, err = w.Write(append(line, '\n'))
		}
		if err != nil {
			return fmt.Errorf("printing offset %d: %w", h.message.Offset, err)
		}
		return nil
	}
}

func lineOf(source string, h *held) tailLine {
	rec := h.record
	line := tailLine{
		Offset: h.message.Offset, Kind: rec.Body.Kind(), Source: source, Agent: rec.Agent, Epoch: rec.Epoch, N: rec.N,
		Outcome: h.outcome, Time: h.message.Timestamp.UTC(), Operations: []tailOperation{},
	}
	switch b := rec.Body.(type) {
	case *event.Transaction:
		line.ID, line.User, line.DependsOn, line.XID = uuid.UUID(b.ID).String(), b.Context.User, &b.DependsOn, b.Postgres.XID
		line.Chunks, line.Standalone = b.Chunks, b.Standalone
		line.Operations = operationsOf(b.Operations)
	case *event.Chunk:
		line.ID = uuid.UUID(b.Tx).String()
		line.Operations = operationsOf(b.Operations)
	case *event.Outcomes:
		for _, o := range b.List {
			line.Outcomes = append(line.Outcomes, tailOutcome{o.Agent, o.Epoch, o.N, o.Committed, o.By})
		}
	case *event.Fence:
		if rec.N == 0 {
			line.Epoch = h.message.Offset // an opening FENCE cannot know it
		}
		line.Fence = &tailFence{Clean: b.Clean, Gate: b.Gate, Ended: epochs(b.Ended), Suspect: epochs(b.Suspect), Primary: primaryText(b.Primary)}
	case *event.Mark:
		line.ID = uuid.UUID(b.ID).String()
		line.Mark = &tailMark{Phase: b.Phase, Target: b.Target, Snapshot: b.Snapshot, Start: b.Start}
	}
	return line
}

func operationsOf(ops []event.Operation) []tailOperation {
	list := make([]tailOperation, len(ops))
	for i := range ops {
		o := &ops[i]
		t := tailOperation{
			Kind: o.Kind, Class: o.Class, Reason: o.Reason, Text: o.Text, Tables: o.Tables, Params: len(o.Params), Bytes: len(o.Data),
			More: o.More, Affected: o.Digest.Affected, Diverged: o.Diverged,
		}
		if t.Tables == nil {
			t.Tables = []string{}
		}
		if o.Rows != nil {
			t.Rows = len(o.Rows.Rows)
		}
		for _, s := range o.Sequences {
			t.Sequences = append(t.Sequences, fmt.Sprintf("%s.%s = %d", s.Schema, s.Name, s.Value))
		}
		list[i] = t
	}
	return list
}

func epochs(list []event.EpochRef) []string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = fmt.Sprintf("%s/%d", e.Agent, e.Epoch)
	}
	return out
}

func primaryText(p event.Primary) string {
	if p.Make == "" {
		return ""
	}
	return fmt.Sprintf("%s %s, system %s, timeline %d, database %s", p.Make, p.Version, p.SystemID, p.Timeline, p.Database)
}

// printText prints lines for people: one for a record, and one for each operation.
func printText(w io.Writer) func(string, *held) error {
	return func(source string, h *held) error {
		line := lineOf(source, h)
		var b strings.Builder
		fmt.Fprintf(&b, "%s %d  %s  %s/%d/%d  ", source, line.Offset, line.Time.Format("2006-01-02T15:04:05.000Z"), line.Agent, line.Epoch, line.N)
		b.WriteString(headline(line))
		b.WriteByte('\n')
		for _, o := range line.Operations {
			fmt.Fprintf(&b, "    %-7s %s\n", o.Class, operationText(o))
			if o.Reason != "" {
				fmt.Fprintf(&b, "            %s\n", o.Reason)
			}
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return fmt.Errorf("printing offset %d: %w", line.Offset, err)
		}
		return nil
	}
}

func headline(line tailLine) string {
	switch {
	case line.Kind == event.KindTransaction:
		text := fmt.Sprintf("transaction %s, %s", line.Outcome, counted(len(line.Operations), "operation"))
		if line.Chunks > 0 {
			text += fmt.Sprintf(" behind %s", counted(int(line.Chunks), "chunk"))
		}
		if line.User != "" {
			text += ", user " + line.User
		}
		return text
	case line.Kind == event.KindChunk:
		return "chunk of transaction " + line.ID
	case line.Kind == event.KindOutcomes:
		var parts []string
		for _, o := range line.Outcomes {
			word := aborted
			if o.Committed {
				word = committed
			}
			by := ""
			if o.By != "" {
				by = " by " + o.By
			}
			parts = append(parts, fmt.Sprintf("%s/%d/%d %s%s", o.Agent, o.Epoch, o.N, word, by))
		}
		return "outcomes " + strings.Join(parts, ", ")
	case line.Fence != nil:
		return fenceText(line)
	case line.Mark != nil && line.Mark.Phase == event.MarkSnapshot:
		return fmt.Sprintf("mark: target %s was filled by a snapshot and reads on from offset %d", line.Mark.Target, line.Mark.Start)
	case line.Mark != nil:
		return fmt.Sprintf("mark: %s", line.Mark.Phase)
	case line.Kind == event.KindVoid:
		return "void: its transaction did not commit"
	}
	return string(line.Kind)
}

func fenceText(line tailLine) string {
	var text string
	switch {
	case line.Fence.Clean:
		text = "fence: closes its epoch"
	case line.N == 0:
		text = "fence: opens an epoch, gate " + line.Fence.Gate + ", " + line.Fence.Primary
	default:
		text = "fence"
	}
	if len(line.Fence.Ended) > 0 {
		text += "; ends " + strings.Join(line.Fence.Ended, ", ")
	}
	if len(line.Fence.Suspect) > 0 {
		text += "; SUSPECT, the last commits may be lost: " + strings.Join(line.Fence.Suspect, ", ")
	}
	return text
}

// maxLine bounds how much of a statement a line for people shows.
const maxLine = 200

// shortened puts a statement on one line of bounded length.
func shortened(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "…"
	}
	return text
}

func operationText(o tailOperation) string {
	text := shortened(o.Text)
	switch o.Kind {
	case event.OpSavepoint, event.OpRollbackTo, event.OpRelease, event.OpSet:
		text = string(o.Kind) + " " + text
	case event.OpFlagged:
		text += "  (not carried; diverged: " + strings.Join(o.Diverged, ", ") + ")"
	}
	var notes []string
	if o.Params > 0 {
		notes = append(notes, counted(o.Params, "parameter"))
	}
	if o.Rows > 0 {
		notes = append(notes, counted(o.Rows, "row image"))
	}
	if o.Bytes > 0 {
		notes = append(notes, counted(o.Bytes, "byte"))
	}
	if o.Affected > 0 {
		notes = append(notes, fmt.Sprintf("%d affected", o.Affected))
	}
	notes = append(notes, o.Sequences...)
	if len(notes) > 0 {
		text += "  (" + strings.Join(notes, ", ") + ")"
	}
	return text
}
