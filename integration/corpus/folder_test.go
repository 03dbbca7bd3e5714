package corpus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// folder is where files come from.
type folder struct {
	path, ext string
	// before are files (without extension) that others rely on: each runs, in this
	// order, on what those before it left, and every other file on what all left.
	before  []string
	program program
	files   []script
}

// script is one file of a folder.
type script struct {
	name, path string
	level      int // how many files of before it starts from
	missing    bool
}

// find lists the files, those of before first. only is a list of names, empty
// for all.
func (f *folder) find(only string) (err error) {
	if f.path, err = filepath.Abs(f.path); err != nil {
		return err
	}
	dir := f.path
	for _, below := range []string{"sql", "specs"} {
		if info, err := os.Stat(filepath.Join(f.path, below)); err == nil && info.IsDir() {
			dir = filepath.Join(f.path, below)
		}
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*"+f.ext))
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("%s has no *%s", dir, f.ext)
	}
	for level, name := range f.before {
		path := filepath.Join(dir, name+f.ext)
		if !slices.Contains(paths, path) {
			return fmt.Errorf("%s=%q: %s is not there", beforeVariable, strings.Join(f.before, " "), path)
		}
		f.files = append(f.files, script{name: name, path: path, level: level})
	}
	for _, path := range paths {
		if name := strings.TrimSuffix(filepath.Base(path), f.ext); !slices.Contains(f.before, name) {
			f.files = append(f.files, script{name: name, path: path, level: len(f.before)})
		}
	}
	return f.choose(strings.Fields(only))
}

// choose marks files that were not asked for.
func (f *folder) choose(only []string) error {
	if len(only) == 0 {
		return nil
	}
	chosen := 0
	for i := range f.files {
		if f.files[i].missing = !slices.Contains(only, f.files[i].name); !f.files[i].missing {
			chosen++
		}
	}
	if chosen == 0 {
		return errors.New(onlyVariable + " names no file of " + f.path)
	}
	return nil
}
