package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Result is how a command ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Opmux runs `opmux args…`. The error is that it could not be run; a command
// that failed has a Code.
func (r *Rig) Opmux(ctx context.Context, args ...string) (Result, error) {
	return r.Run(ctx, filepath.Join(r.Bin, "opmux"), args...)
}

// Run runs any program in the rig's directory.
func (r *Rig) Run(ctx context.Context, program string, args ...string) (Result, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Dir = r.Dir
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		err = nil
	}
	if err != nil {
		return result, fmt.Errorf("running %s: %w\n%s%s", program, err, result.Stdout, result.Stderr)
	}
	return result, nil
}

// Must runs `opmux args…` and returns its output; any exit code but 0 is an error.
func (r *Rig) Must(ctx context.Context, args ...string) (string, error) {
	result, err := r.Opmux(ctx, args...)
	if err != nil {
		return "", err
	}
	if result.Code != 0 {
		return "", fmt.Errorf("opmux %v: exit code %d\n%s%s", args, result.Code, result.Stdout, result.Stderr)
	}
	return result.Stdout, nil
}

// Verdicts is the answer of `opmux verdicts --json`.
type Verdicts struct {
	Match, Mismatch, Missing, Skipped int64
}

// Sum is the number of operations with a verdict.
func (v Verdicts) Sum() int64 { return v.Match + v.Mismatch + v.Missing + v.Skipped }

// Verdicts asks for the verdicts so far.
func (r *Rig) Verdicts(ctx context.Context) (Verdicts, error) {
	var v Verdicts
	return v, r.JSON(ctx, &v, "verdicts", "--config", r.VerifierConfig(), "--json")
}

// Status is what the tests and the demo read of `opmux status --json`.
type Status struct {
	Diverged []struct{ Table, Reason, Statement string }
	Suspect  []struct {
		Source, Agent string
		Epoch         int64
	}
	Lag struct {
		Transactions int64
		Seconds      float64
	}
	InDoubt []struct {
		Agent    string
		Epoch, N int64
		Reason   string
	} `json:"in_doubt"`
	Programs []struct {
		Role, Name, State string
		Open              int    // intents without outcome that an agent knows of
		LastError         string `json:"last_error"`
	}
	LastError string `json:"last_error"`
}

// Status asks for the state of the target's worker.
func (r *Rig) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, r.JSON(ctx, &s, "status", "--config", r.WorkerConfig("w1"), "--json")
}

// JSON runs `opmux args…` and reads its output into v.
func (r *Rig) JSON(ctx context.Context, v any, args ...string) error {
	out, err := r.Must(ctx, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		return fmt.Errorf("opmux %v printed no JSON: %w\n%s", args, err, out)
	}
	return nil
}

// Wait runs `opmux wait`: the backup has everything that was committed when it
// was called.
func (r *Rig) Wait(ctx context.Context, timeout time.Duration) error {
	_, err := r.Must(ctx, "wait", "--config", r.WorkerConfig("w1"), "--timeout", timeout.String())
	return err
}

// Query runs one statement on any server and returns its rows in text form; a
// NULL is "".
func Query(ctx context.Context, dsn, sql string) ([][]string, error) {
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // the answer is what counts
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sql, err)
	}
	var rows [][]string
	for _, result := range results {
		for _, row := range result.Rows {
			texts := make([]string, len(row))
			for i, v := range row {
				texts[i] = string(v)
			}
			rows = append(rows, texts)
		}
	}
	return rows, nil
}
