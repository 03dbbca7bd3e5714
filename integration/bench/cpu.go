package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is USER_HZ, which Linux fixed at 100 for all of /proc.
const ticksPerSecond = 100

// cpuOf returns the processor time, user and system, that processes have used
// with all their threads.
func cpuOf(pids ...int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
		d, err := parseStat(string(text), ownTime)
		if err != nil {
			return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
		sum += d
	}
	return sum, nil
}

// familyTime returns the processor time of a process's children, of those that
// have ended too, which is where a postmaster's sessions are that are over. A
// session that ends in the middle of it must not count twice or not at all.
func familyTime(pid int, children func() []int) (time.Duration, error) {
	for {
		before, err := endedChildren(pid)
		if err != nil {
			return 0, err
		}
		living, err := cpuOf(children()...)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) { // one that ended while it was read
			return 0, err
		}
		after, endErr := endedChildren(pid)
		if endErr != nil {
			return 0, endErr
		}
		if err == nil && before == after {
			return living + after, nil
		}
	}
}

func endedChildren(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("processor time of the children of process %d: %w", pid, err)
	}
	return parseStat(string(text), childTime)
}

// The fields of /proc/<pid>/stat behind "pid (name)" that hold times in user and
// in system mode, as numbered from 0: of the process and of its ended children.
const (
	ownTime   = 11
	childTime = 13
)

// parseStat reads a field and the one behind it out of "pid (name) state …"; the
// name may hold spaces and brackets.
func parseStat(text string, first int) (time.Duration, error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < childTime+2 {
		return 0, fmt.Errorf("/proc says %q, expected at least %d fields", text, childTime+4)
	}
	var ticks int64
	for _, field := range fields[first : first+2] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc says %q: %w", text, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}
