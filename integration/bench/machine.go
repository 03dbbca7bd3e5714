package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/opmux/opmux/internal/kafkaserver"
	"github.com/opmux/opmux/internal/pgserver"
)

// describeMachine says what a run is a run of, without names of hosts. What
// cannot be found out is left out.
func describeMachine(ctx context.Context) []string {
	lines := []string{fmt.Sprintf("machine: %d cores (%s), %s of memory, %s", runtime.NumCPU(),
		field("/proc/cpuinfo", "model name"), gibibytes(field("/proc/meminfo", "MemTotal")), "Linux "+firstWord("/proc/sys/kernel/osrelease"))}
	versions := []string{runtime.Version()}
	if bin, err := pgserver.BinDir(); err == nil {
		versions = append(versions, version(ctx, filepath.Join(bin, "postgres"), "--version"))
	}
	if path, err := findBouncer(); err == nil {
		versions = append(versions, version(ctx, path, "--version"))
	}
	if script, err := kafkaserver.Script(); err == nil {
		versions = append(versions, "Apache "+strings.ReplaceAll(filepath.Base(filepath.Dir(version(ctx, script, "fetch"))), "-", " "))
	}
	lines = append(lines, "versions: "+strings.Join(versions, ", "))
	if commit := version(ctx, "git", "describe", "--always", "--dirty"); commit != "" {
		lines = append(lines, "commit: "+commit)
	}
	return lines
}

// version is the first line that a program prints.
func version(ctx context.Context, path string, args ...string) string {
	out, err := exec.CommandContext(ctx, path, args...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// field is the value of the first line "name : value" of a file.
func field(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func gibibytes(kilobytes string) string {
	var n float64
	if _, err := fmt.Sscan(kilobytes, &n); err != nil {
		return kilobytes
	}
	return fmt.Sprintf("%.0f GiB", n/(1<<20))
}

func firstWord(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
