package execute

import (
	"maps"
	"slices"
)

// point is a savepoint on the target, with what the attempt had made of tables there:
// a ROLLBACK TO undoes what was written to opmux.diverged behind it.
type point struct {
	name     string
	declared int
	states   map[string]bool
}

func (r *replay) savepoint(name string) error {
	r.points = append(r.points, point{name, len(r.declared), maps.Clone(r.states)})
	return r.command("SAVEPOINT " + quoteIdent(name))
}

// release forgets a savepoint and those above it.
func (r *replay) release(name string) error {
	if i := r.point(name); i >= 0 {
		r.points = r.points[:i]
	}
	return r.command("RELEASE SAVEPOINT " + quoteIdent(name))
}

// rollbackTo forgets what was made of tables behind a savepoint, which stays.
func (r *replay) rollbackTo(name string) error {
	if i := r.point(name); i >= 0 {
		r.points = r.points[:i+1]
		r.declared, r.states = slices.Clip(r.declared[:r.points[i].declared]), maps.Clone(r.points[i].states)
	}
	r.settings.forget()
	return r.command("ROLLBACK TO SAVEPOINT " + quoteIdent(name))
}

// point is where the latest savepoint of a name is, -1 where there is none.
func (r *replay) point(name string) int {
	for i, p := range slices.Backward(r.points) {
		if p.name == name {
			return i
		}
	}
	return -1
}
